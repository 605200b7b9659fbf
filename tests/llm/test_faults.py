"""What happens when the server fails: every row is answered or refused with a reason, and the run stops only for a
reason that concerns all rows."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.errors import Refused, UserError
from personamem_pipeline.llm import connection, limits
from personamem_pipeline.llm.client import Endpoint
from tests.llm.faults import DROP, GOOD, KEY, Reply, choices, completion, endpoint, error, row_of, server


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FIRST_WAIT", 0.002)
    monkeypatch.setattr(limits, "LONGEST_WAIT", 0.02)


def failing_first(fault: Reply) -> tuple[Counter[str], Any]:
    """A handler that meets every third row with a fault, once."""
    asked: Counter[str] = Counter()

    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        row = row_of(request)
        asked[row] += 1
        return fault if int(row[1:]) % 3 == 0 and asked[row] == 1 else GOOD

    return asked, handle


@pytest.mark.parametrize(
    "fault",
    [error(429), error(500), error(502), error(503), error(408), DROP, Reply(200, '{"choices": [{"mess')],
    ids=["429", "500", "502", "503", "408", "dropped", "broken body"],
)
def test_a_passing_fault_costs_one_retry_and_no_row(fault: Reply) -> None:
    asked, handle = failing_first(fault)
    with server(handle) as url:
        used = endpoint(url, max_retries=5, concurrency=8)
        replies = used.map(choices(30))
    assert not [reply for reply in replies if isinstance(reply, Refused)]
    assert asked.total() == 40
    assert (used.usage.calls, used.usage.retries, used.usage.wasted) == (30, 10, 0)


def test_broken_json_in_a_reply_is_asked_for_again_and_counted_as_wasted() -> None:
    _, handle = failing_first(completion('{"answer": '))
    with server(handle) as url:
        used = endpoint(url, concurrency=8)
        assert not [reply for reply in used.map(choices(30)) if isinstance(reply, Refused)]
    assert (used.usage.calls, used.usage.wasted, used.usage.retries) == (40, 10, 0)


@pytest.mark.parametrize("fault", [error(500, "cannot"), DROP])
def test_a_row_that_always_fails_is_refused_alone(fault: Reply) -> None:
    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        return fault if row_of(request) == "q3" else GOOD

    with server(handle) as url:
        used = endpoint(url, max_retries=3, concurrency=2)
        replies = used.map(choices(10))
    refused = [reply for reply in replies if isinstance(reply, Refused)]
    assert [reply.args[0] for reply in refused] == ["row3"]
    assert refused[0].args[-1].startswith("unanswered: 4 requests failed")
    assert (len(replies), used.usage.calls, used.usage.refused) == (10, 9, 1)


@pytest.mark.parametrize("fault", [error(500, "cannot"), DROP])
def test_it_is_refused_alone_in_a_re_run_too_where_the_cache_has_all_others(fault: Reply, tmp_path: Path) -> None:
    down = False

    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        return fault if down or row_of(request) == "q3" else GOOD

    with server(handle) as url:
        for _ in range(2):
            replies = endpoint(url, max_retries=3, concurrency=2, cache=tmp_path / "c").map(choices(10))
            assert [index for index, reply in enumerate(replies) if isinstance(reply, Refused)] == [3]
        down = True
        with pytest.raises(UserError):
            endpoint(url, max_retries=3, concurrency=2, cache=tmp_path / "c").map(choices(10))


def test_too_many_requests_cost_time_and_never_a_row() -> None:
    """A server that takes one request at a time and refuses all others."""
    busy, handled = threading.Lock(), Counter[int]()

    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        if not busy.acquire(blocking=False):
            handled[429] += 1
            return error(429)
        try:
            handled[200] += 1
            time.sleep(0.002)
            return GOOD
        finally:
            busy.release()

    with server(handle) as url:
        used = endpoint(url, max_retries=2, concurrency=32)
        replies = used.map(choices(60))
    assert not [reply for reply in replies if isinstance(reply, Refused)]
    assert handled[429] > 0
    assert used._window.limit < 8, "the window came down from 16"


def test_retry_after_holds_every_new_request() -> None:
    times: list[float] = []
    asked = threading.Event()

    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        times.append(time.monotonic())
        if not asked.is_set():
            asked.set()
            return error(429, Retry_After="0.4")
        return GOOD

    with server(handle) as url:
        endpoint(url, max_retries=3, concurrency=2).map(choices(12))
    assert len(times) == 13
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert sum(gap > 0.3 for gap in gaps) == 1, "for once nothing was sent for so long"


def test_a_wait_that_is_too_long_is_said() -> None:
    reply = error(429, "come back", Retry_After="7200")
    with server(lambda request, headers: reply) as url, pytest.raises(UserError, match="asks to wait 7200 s"):
        endpoint(url, max_retries=3).map(choices(3))


@pytest.mark.parametrize("quota", [error(429, "you exceeded your quota", "insufficient_quota"), error(402, "no money")])
def test_a_quota_that_is_used_up_stops_at_once_and_keeps_what_was_answered(quota: Reply, tmp_path: Any) -> None:
    asked: Counter[str] = Counter()
    counting, credit = threading.Lock(), 20

    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        with counting:
            asked[row_of(request)] += 1
            paid = asked.total() <= credit
        time.sleep(0.005)
        return GOOD if paid else quota

    with server(handle) as url:
        first = endpoint(url, max_retries=5, concurrency=4, cache=tmp_path / "llm.sqlite")
        with pytest.raises(UserError) as raised:
            first.map(choices(50))
        text = str(raised.value)
        assert "quota is used up" in text
        assert "20 of these 50 rows are answered" in text
        assert "goes on from there" in text
        assert asked.total() <= credit + 4, "only what was in flight met the quota"
        credit, before = 1000, asked.copy()
        second = endpoint(url, concurrency=4, cache=tmp_path / "llm.sqlite")
        assert len(second.map(choices(50))) == 50
        assert second.usage.cached == 20
        assert sum((asked - before).values()) == 30


@contextmanager
def raw_server(send: Any) -> Iterator[str]:
    """A socket that answers each connection by `send(connection)`."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def one(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.recv(65536)
                send(connection)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=one, args=(listening.accept()[0],), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


def test_a_reply_without_end_is_cut_off_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LARGEST_REPLY", 100_000)

    def send(to: socket.socket) -> None:
        to.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            to.sendall(b'{"choices": ' * 1000)

    with raw_server(send) as url:
        used = endpoint(url)
        (refused,) = used.map(choices(1))
    assert isinstance(refused, Refused)
    assert refused.args[-1].startswith("endless: ")
    assert used.usage.wasted == 1


def test_a_reply_that_drips_meets_the_timeout() -> None:
    def send(to: socket.socket) -> None:
        to.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            to.sendall(b" ")
            time.sleep(0.02)

    with raw_server(send) as url:
        started = time.monotonic()
        with pytest.raises(UserError, match=r"does not answer in time[^$]*PERSONAMEM_LLM_TIMEOUT"):
            endpoint(url, timeout=0.2).map(choices(2))
        assert time.monotonic() - started < 3


def test_an_outage_in_the_middle_ends_in_one_clear_error() -> None:
    asked = Counter[str]()

    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        asked["all"] += 1
        return GOOD if asked["all"] <= 10 else error(503, "maintenance")

    with server(handle) as url, pytest.raises(UserError, match="maintenance"):
        endpoint(url, max_retries=3, concurrency=4).map(choices(40))


def test_keys_are_in_no_error_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with server(lambda request, headers: error(500)) as url:
        secret = url.replace("http://", "http://user:pass-word@") + "?api-version=1&sig=also-secret"
        with pytest.raises(UserError) as raised:
            endpoint(secret, max_retries=1).map(choices(2))
    shown = str(raised.value) + repr(raised.value)
    assert KEY not in shown + caplog.text
    assert "pass-word" not in shown
    assert "also-secret" not in shown


@pytest.mark.parametrize("status", [400, 401, 429])
def test_a_key_that_the_server_repeats_is_left_out(status: int) -> None:
    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        return error(status, f"Received {headers['authorization']}", "insufficient_quota" if status == 429 else None)

    with server(handle) as url:
        used = Endpoint(url, "m", "my-very-secret", max_retries=1)
        try:
            told = str(used.map(choices(1))[0])
        except UserError as problem:
            told = str(problem)
    assert "Received" in told and "my-very-secret" not in told
