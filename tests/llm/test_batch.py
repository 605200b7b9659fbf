"""The Batch API, end to end over the real client: in process, over HTTP, after a kill, and with rows that fail."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.errors import Refused, UserError
from personamem_pipeline.llm.batch import answers_in, split
from personamem_pipeline.llm.client import Endpoint
from personamem_pipeline.llm.simulator import app as served
from personamem_pipeline.llm.simulator.batches import form_fields
from tests.llm.faults import GOOD, ROOT, choice, choices, endpoint, error, server, simulator
from tests.llm.test_client import simulator_process

RUN = """
import sys
from personamem_pipeline.llm.client import Endpoint
from tests.llm.faults import choices
base_url, cache, poll = sys.argv[1:]
used = Endpoint(base_url, "simulator/1", None, cache=cache, batch=True, batch_poll_seconds=float(poll))
used.map(choices(30))
print(used.usage.calls, used.usage.cached, used.usage.retries)
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with simulator_process() as base_url:
        yield base_url


def batches(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/batches") as reply:
        found: list[dict[str, Any]] = json.load(reply)["data"]
    return found


def batched(path: Path, **options: Any) -> Endpoint:
    return simulator(cache=path, batch=True, batch_poll_seconds=0.01, **options)


def test_a_batch_says_what_live_requests_say(tmp_path: Path) -> None:
    used, told = batched(tmp_path / "llm.sqlite"), list[tuple[int, int]]()
    replies = used.map(choices(30), on_progress=lambda done, total: told.append((done, total)))
    assert replies == simulator().map(choices(30))
    assert (used.usage.calls, used.usage.cached, used.usage.retries) == (30, 0, 0)
    assert told == sorted(told)
    assert told[-1] == (30, 30)
    again = batched(tmp_path / "llm.sqlite")
    assert again.map(choices(30)) == replies
    assert (again.usage.calls, again.usage.cached) == (0, 30)


def test_only_what_is_missing_is_batched_and_equal_requests_once(tmp_path: Path, url: str) -> None:
    def asked() -> Endpoint:
        options = {"cache": tmp_path / "llm.sqlite", "batch": True, "batch_poll_seconds": 0.02}
        return Endpoint(url, "simulator/1", None, **options)

    before = len(batches(url))
    asked().map(choices(10))
    asked().map([*choices(20), *choices(20)])
    first, second = batches(url)[before:]
    assert (first["request_counts"]["total"], second["request_counts"]["total"]) == (9, 9), "one of each was live"


def test_rows_that_fail_in_the_batch_are_asked_live(tmp_path: Path) -> None:
    prompts = choices(10)
    prompts[4] = choice("broken", options={})
    used = batched(tmp_path / "llm.sqlite")
    replies = used.map(prompts)
    assert [index for index, reply in enumerate(replies) if isinstance(reply, Refused)] == [4]
    assert (used.usage.calls, used.usage.retries, used.usage.refused) == (9, 1, 1)


def test_a_run_that_was_killed_waits_for_the_same_batch(tmp_path: Path, url: str) -> None:
    path, before = tmp_path / "llm.sqlite", len(batches(url))

    def run(poll: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", RUN, url, str(path), str(poll)]
        environment = os.environ | {"PYTHONPATH": "."}
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)

    first = run(poll=60)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not _remembered(path):
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=10)
    assert _remembered(path) == 29
    second = run(poll=0.05)
    calls, cached, retries = map(int, second.communicate(timeout=60)[0].split())
    assert len(batches(url)) == before + 1, "no second batch was paid for"
    assert (calls, cached, retries) == (29, 1, 0)
    assert _remembered(path) == 0


def _remembered(path: Path) -> int:
    if not path.exists():
        return 0
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM batched").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


def test_a_batch_that_is_gone_is_created_again(tmp_path: Path) -> None:
    path = tmp_path / "llm.sqlite"
    batched(path).map(choices(1))
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO batched SELECT randomblob(32), 'batch_gone'")
    used = batched(path)
    used.map(choices(5))
    assert used.usage.calls == 4


@pytest.mark.parametrize(("status", "says"), [("failed", "failed: token limit"), ("cancelled", "was cancelled")])
def test_a_batch_that_failed_as_a_whole_is_a_clear_error(
    status: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(self: Any, batch: dict[str, Any], lines: list[bytes]) -> None:
        batch |= {"status": status, "errors": {"data": [{"message": "token limit"}]} if status == "failed" else None}

    held = served.batches.Batches
    original = held._work
    monkeypatch.setattr(held, "_work", work)
    with pytest.raises(UserError, match=says):
        batched(tmp_path / "llm.sqlite").map(choices(5))
    monkeypatch.setattr(held, "_work", original)
    assert len(batched(tmp_path / "llm.sqlite").map(choices(5))) == 5, "a re-run makes a new one"


def test_what_an_expired_batch_leaves_is_asked_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = served.batches.Batches._work

    async def work(self: Any, batch: dict[str, Any], lines: list[bytes]) -> None:
        await original(self, batch, lines[:5])
        batch["status"] = "expired"

    monkeypatch.setattr(served.batches.Batches, "_work", work)
    used = batched(tmp_path / "llm.sqlite")
    assert used.map(choices(20)) == simulator().map(choices(20))
    assert (used.usage.calls, used.usage.retries) == (20, 14)


def test_a_server_without_batches_is_named(tmp_path: Path) -> None:
    def handle(request: dict[str, Any], headers: dict[str, str]) -> Any:
        return GOOD if headers["url"].endswith("/chat/completions") else error(404, "Not Found")

    with server(handle) as url, pytest.raises(UserError, match=r"no Batch API[^$]*PERSONAMEM_LLM_BATCH"):
        endpoint(url, cache=tmp_path / "llm.sqlite", batch=True).map(choices(3))


def test_a_wrong_key_shows_before_anything_is_uploaded(tmp_path: Path) -> None:
    paths: list[str] = []

    def handle(request: dict[str, Any], headers: dict[str, str]) -> Any:
        paths.append(headers["url"])
        return error(401, "no such key")

    with server(handle) as url, pytest.raises(UserError, match="refuses the key"):
        endpoint(url, cache=tmp_path / "llm.sqlite", batch=True).map(choices(3))
    assert paths == ["/v1/chat/completions"]


def test_a_budget_is_kept_before_anything_is_uploaded(tmp_path: Path) -> None:
    poor = batched(tmp_path / "llm.sqlite", budget_tokens=2000)
    with pytest.raises(UserError, match="budget of 2,000 tokens"):
        poor.map(choices(200))
    assert poor.usage.calls == 1, "the one that was asked live"
    assert len(batched(tmp_path / "llm.sqlite", budget_tokens=20_000).map(choices(200))) == 200


def test_a_quota_that_is_used_up_is_named(tmp_path: Path) -> None:
    def handle(request: dict[str, Any], headers: dict[str, str]) -> Any:
        return GOOD if headers["url"].endswith("/chat/completions") else error(402, "no money")

    with server(handle) as url, pytest.raises(UserError, match="quota is used up"):
        endpoint(url, cache=tmp_path / "llm.sqlite", batch=True).map(choices(3))


def test_a_batch_needs_the_cache() -> None:
    with pytest.raises(UserError, match="needs the response cache"):
        simulator(batch=True)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=40), st.integers(1, 10), st.integers(300, 900))
def test_batches_keep_to_the_limits_and_lose_nothing(sizes: list[int], most: int, bytes_: int) -> None:
    requests = {index.to_bytes(32, "big"): b'"' + b"x" * size + b'"' for index, size in enumerate(sizes)}
    parts = list(split(requests, most, bytes_))
    assert [digest for digests, _ in parts for digest in digests] == list(requests)
    for digests, file in parts:
        assert len(digests) <= most
        assert len(file) <= bytes_ or len(digests) == 1
        rows = [json.loads(line) for line in file.splitlines()]
        assert [bytes.fromhex(row["custom_id"]) for row in rows] == digests
        assert all(row["url"] == "/v1/chat/completions" for row in rows)


def test_lines_that_cannot_be_read_are_asked_again() -> None:
    body = {"choices": [{"message": {"content": "x"}}]}
    good = json.dumps({"custom_id": "ab", "response": {"status_code": 200, "body": body}})
    bad = ["{", "[]", '{"response": {"status_code": 200}}', '{"custom_id": "ab", "response": {"status_code": 500}}']
    assert list(answers_in("\n".join([good, *bad]).encode())) == [b"\xab"]


def test_the_simulator_reads_a_form_as_it_was_sent() -> None:
    content = '{"a": "é\\r\\n"}\n{"b": 1}\n'.encode()
    body = (
        b'--xyz\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--xyz\r\n'
        b'Content-Disposition: form-data; name="file"; filename="r.jsonl"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n--xyz--\r\n"
    )
    assert form_fields("multipart/form-data; boundary=xyz", body) == {"purpose": b"batch", "file": content}


def test_the_simulator_refuses_what_openai_refuses() -> None:
    async def run() -> list[int]:
        import httpx2

        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(served.app), base_url="http://sim/v1/") as client:
            replies = [
                await client.post("batches", json={"input_file_id": "none"}),
                await client.get("batches/none"),
                await client.get("files/none/content"),
                await client.post("files", files={"file": b"x"}, data={"purpose": "fine-tune"}),
                await client.post("chat/completions", json={"model": "gpt-4o"}),
            ]
        return [reply.status_code for reply in replies]

    assert asyncio.run(run()) == [404, 404, 404, 400, 404]
