"""The response cache: nothing is asked twice, whoever asks, and nothing but answers is in it."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.errors import Refused, UserError
from personamem_pipeline.llm import cache as module
from personamem_pipeline.llm.cache import ResponseCache, request_digest, server_name
from personamem_pipeline.llm.replies import Answer
from tests.llm.faults import (
    GOOD,
    KEY,
    ROOT,
    Reply,
    choice,
    choices,
    completion,
    endpoint,
    error,
    row_of,
    server,
    simulator,
)

ANSWER = Answer("hello", "", "stop", 3, 1)
ASK = """
import sys
from tests.llm.faults import choices, endpoint, simulator
base_url, cache, rows, concurrency = sys.argv[1:]
asked = simulator(cache=cache) if base_url == "-" else endpoint(base_url, cache=cache, concurrency=int(concurrency))
asked.map(choices(int(rows)))
print(asked.usage.calls, asked.usage.cached)
"""


def process(base_url: str, cache: Path, rows: int, concurrency: int = 4) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ASK, base_url, str(cache), str(rows), str(concurrency)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": "."})


def test_a_rerun_asks_nothing_and_says_the_same(tmp_path: Path) -> None:
    first, second = (simulator(cache=tmp_path / "cache" / "llm.sqlite") for _ in range(2))
    replies = first.map(choices(30))
    assert second.map(choices(30)) == replies
    assert (first.usage.calls, first.usage.cached) == (30, 0)
    assert (second.usage.calls, second.usage.cached, second.usage.tokens) == (0, 30, 0)
    assert second.usage.answered() == first.usage.answered(), "what a manifest says of its cost stays the same"
    second.map(choices(31))
    assert second.usage.calls == 1


def test_another_question_model_or_server_is_another_request(tmp_path: Path) -> None:
    path = tmp_path / "llm.sqlite"
    with server(lambda request, headers: GOOD) as url, server(lambda request, headers: GOOD) as other:
        for asked, prompt in [
            (endpoint(url, cache=path), choice()),
            (endpoint(other, cache=path), choice()),
            (endpoint(url, cache=path, max_tokens=9), choice()),
            (endpoint(url, cache=path), choice("other row")),
            (endpoint(url, cache=path), choice(query="other")),
        ]:
            asked.map([prompt])
            assert (asked.usage.calls, asked.usage.cached) == (1, 0)
        again = endpoint(url.replace("http://", "http://me:secret@") + "?api-version=2", cache=path)
        again.map([choice()])
        assert again.usage.cached == 1, "a password or an API version does not change who answers"


def test_errors_are_not_kept_and_an_unusable_reply_does_not_poison(tmp_path: Path) -> None:
    path, replies = tmp_path / "llm.sqlite", iter([error(400), completion('{"answer": "e"}'), GOOD])
    with server(lambda request, headers: next(replies)) as url:
        assert isinstance(endpoint(url, cache=path).map([choice()])[0], Refused)
        repaired, again = endpoint(url, cache=path), endpoint(url, cache=path)
        (first,) = repaired.map([choice()])
        assert not isinstance(first, Refused), "the refusal was asked again, and the unusable reply repaired"
        assert again.map([choice()]) == [first]
    assert (again.usage.cached, again.usage.calls, again.usage.wasted) == (2, 0, 0)


def test_several_processes_share_one_file(tmp_path: Path) -> None:
    path = tmp_path / "llm.sqlite"
    processes = [process("-", path, 60) for _ in range(2)]
    told = [running.communicate(timeout=60)[0].split() for running in processes]
    assert [running.returncode for running in processes] == [0, 0]
    assert all(int(calls) + int(cached) == 60 for calls, cached in told)
    last = simulator(cache=path)
    last.map(choices(60))
    assert (last.usage.calls, last.usage.cached) == (0, 60)


def test_after_kill_9_only_what_was_in_flight_is_asked_again(tmp_path: Path) -> None:
    path, concurrency, rows = tmp_path / "llm.sqlite", 6, 80
    asked: Counter[str] = Counter()
    counting, killed = threading.Lock(), threading.Event()
    victims: list[subprocess.Popen[str]] = []

    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        with counting:
            asked[row_of(request)] += 1
            if asked.total() == 40 and not killed.is_set():
                os.kill(victims[0].pid, signal.SIGKILL)
                killed.set()
        time.sleep(0.01)
        return GOOD

    with server(handle) as url:
        victims.append(process(url, path, rows, concurrency))
        victims[0].communicate(timeout=60)
        assert victims[0].returncode == -signal.SIGKILL
        first = asked.total()
        second = process(url, path, rows, concurrency)
        calls, cached = map(int, second.communicate(timeout=60)[0].split())
    assert calls + cached == rows
    assert cached >= first - concurrency
    repeated = [row for row, count in asked.items() if count > 1]
    assert len(repeated) <= concurrency
    assert max(asked.values()) <= 2


def test_no_key_and_no_address_is_in_the_file(tmp_path: Path) -> None:
    with server(lambda request, headers: GOOD) as url:
        endpoint(url.replace("http://", "http://me:pass-word@"), cache=tmp_path / "llm.sqlite").map(choices(3))
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"stop" in written
    for secret in (KEY, "pass-word", "127.0.0.1"):
        assert secret.encode() not in written


@pytest.mark.parametrize("damage", [b"not a database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 4000])
def test_a_damaged_file_is_named_with_what_to_do(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "llm.sqlite"
    path.write_bytes(damage)
    with pytest.raises(UserError) as raised:
        simulator(cache=path).map([choice()])
    assert str(path) in str(raised.value)
    assert "delete llm.sqlite*" in str(raised.value)
    assert "PERSONAMEM_LLM_CACHE=off" in str(raised.value)
    assert path.read_bytes() == damage, "nothing was overwritten"


def test_a_file_of_another_format_or_place_is_named(tmp_path: Path) -> None:
    path = tmp_path / "llm.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(UserError, match="format is 99"):
        simulator(cache=path).map([choice()])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used"):
        simulator(cache=tmp_path / "file" / "llm.sqlite").map([choice()])


def test_an_edited_simulator_is_not_answered_for_by_its_former_self(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "llm" / "simulator" / "world"
    room.mkdir(parents=True)
    (room / "leisure.yaml").write_text("hiking")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "llm" / "cache.py"))
    names = []
    for text in ("hiking", "hiking", "sailing"):
        (room / "leisure.yaml").write_text(text)
        module._simulator_digest.cache_clear()
        names.append(server_name(None))
    module._simulator_digest.cache_clear()
    assert names[0] == names[1] != names[2]
    assert re.fullmatch("simulator [0-9a-f]{64}", names[0])


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.openai.com/v1/", "api.openai.com/v1"),
        ("http://me:secret@localhost:8000/v1?api-version=1", "localhost:8000/v1"),
    ],
)
def test_servers_are_known_by_host_and_path(url: str, name: str) -> None:
    assert server_name(url) == name


def test_the_first_answer_stays(tmp_path: Path) -> None:
    request = request_digest("server", b"{}")
    with ResponseCache.open(tmp_path / "llm.sqlite") as cache:
        assert cache.get(request) is None
        cache.put(request, ANSWER)
        cache.put(request, Answer("other", "", "stop", 3, 1))
        assert cache.get(request) == ANSWER


def test_a_batch_is_remembered_until_it_has_ended(tmp_path: Path) -> None:
    one, two, three = (request_digest("server", body) for body in (b"1", b"2", b"3"))
    with ResponseCache.open(tmp_path / "llm.sqlite") as cache:
        cache.remember_batch("batch_a", [one, two])
    with ResponseCache.open(tmp_path / "llm.sqlite") as cache:
        assert cache.pending([one, three]) == {"batch_a": [one]}
        cache.finish_batch("batch_a", {one: ANSWER})
        assert cache.pending([one, two, three]) == {}
        assert cache.get(one) == ANSWER
        assert cache.get(two) is None
