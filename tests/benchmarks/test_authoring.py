"""The benchmark's faulty server keeps its word and its books, and the figures are read from them as they say."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import httpx2
import pytest

from benchmarks import accounts
from benchmarks.authoring import Server, expected, rows, served
from benchmarks.authoring_ours import Reply, prompt
from benchmarks.faulty_server import FAULTS, answer, fault, row_of
from benchmarks.ledger import Ledger
from personamem_pipeline.errors import Refused
from personamem_pipeline.llm.client import Endpoint

ROWS = list(rows(60))
SHARE = 0.2


def test_faults_have_their_share_and_depend_on_row_and_attempt_alone() -> None:
    found = Counter(fault(f"row-{index}", 1, 0.05) for index in range(20_000))
    assert 0.045 < 1 - found[None] / 20_000 < 0.055
    assert all(0.01 < found[kind] / 20_000 < 0.015 for kind in FAULTS)
    assert fault("row-1", 1, 0.05) == fault("row-1", 1, 0.05)
    assert {fault("row-1", attempt, 0.5) for attempt in range(1, 50)} == {None, *FAULTS}, "not doomed for ever"
    assert [fault(f"row-{index}", 1, 0.5) for index in range(50)] != [
        fault(f"row-{index}", 1, 0.5, 1) for index in range(50)
    ]
    assert fault("row-1", 1, 0.0) is None


def test_a_row_is_known_by_its_first_two_messages() -> None:
    messages = ROWS[0]["messages"]
    repair = [*messages, {"role": "assistant", "content": "{"}, {"role": "user", "content": "again"}]
    assert row_of(messages) == row_of(repair) != row_of(ROWS[1]["messages"])
    assert row_of([]) is None
    assert row_of([{"role": "user", "content": "Jason is 25 years old."}]) is None


def test_answers_fit_the_schema() -> None:
    assert Reply.model_validate(answer(Reply.model_json_schema(), "a")) != Reply.model_validate(
        answer(Reply.model_json_schema(), "b")
    )
    assert answer({"type": "array", "items": {"enum": ["x"]}}, "a") == ["x"]
    with pytest.raises(ValueError, match="null"):
        answer({"type": "null"}, "a")


def test_the_ledger_tells_why_a_row_was_asked_again() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ledger = Ledger(kill={"pid": child.pid, "after": 2})
    for row, went_wrong in (("failed", "500"), ("failed", None), ("kept", None)):
        ledger.left(row, ledger.arrived(row, row.encode()), went_wrong)
    ledger.arrived("cut", b"cut")
    assert child.wait(5) == -9
    ledger.left("cut", 1, None)
    for row in ("cut", "kept"):
        ledger.left(row, ledger.arrived(row, row.encode()), None)
    stats = ledger.stats()
    assert stats["again"] == {"500": 1, "cut off": 1, "answered": 1}
    assert stats["killed"] == {"requests": 4, "answered": 2, "unanswered": 1}
    assert (stats["requests"], stats["rows"], stats["distinct"], stats["first_faults"]) == (6, 3, 3, 1)
    figures = accounts.resumed(stats, {"cut": {}, "kept": {}, "failed": {}}, [{"key": "cut"}, {"key": "failed"}])
    assert (figures.after_faults, figures.repeated, figures.lost) == (1, 2, 1)
    assert (figures.repeated_unanswered, figures.repeated_answered) == (1, 1)


def test_lost_and_wrong_rows() -> None:
    due = {"a": {"score": 1}, "b": {"score": 2}, "c": {"score": 3}}
    assert accounts.lost(due, [{"key": key, **value} for key, value in due.items()]) == (0, 0)
    twice = [{"key": "a", "score": 1}, {"key": "a", "score": 1}, {"key": "b", "score": 9}]
    assert accounts.lost(due, twice) == (1, 2)


def test_a_runs_figures() -> None:
    stats = {
        "requests": 5, "probes": 2, "again": {"429": 2}, "first_request": 10.0, "answer_times": [11.0, 12.0, 14.0],
        "cpu_seconds": 1.0, "most_in_flight": 3,
    }  # fmt: skip
    due = {"a": {}, "b": {}, "c": {}}
    run = accounts.run(stats, due, [{"key": key} for key in due], started=8.0, ended=15.0, client_cpu=2.0)
    assert (run.rows_per_second, run.startup_seconds, run.finish_seconds, run.total_seconds) == (0.75, 2.0, 1.0, 7.0)
    assert (run.wasted, run.causes, run.server_busy) == (4, {"429": 2, "probe": 2}, 0.2)
    assert accounts.rate_between([0.0, 1.0, 3.0, 4.0, 5.0], 0.25, 0.75) == pytest.approx(2 / 3)
    assert accounts.middle([run]) is run
    assert ["requests", "5"] in accounts.table({"ours": run})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served(argparse.Namespace(latency_ms=1, faults=SHARE, retry_after=0.25)) as running:
        yield running


def test_our_client_loses_no_row_to_the_real_server(server: Server) -> None:
    server.call("/reset", {})
    replies = Endpoint(server.base_url, "benchmark", "none", concurrency=8).map([prompt(row) for row in ROWS])
    due = expected(ROWS)
    for row, reply in zip(ROWS, replies, strict=True):
        assert not isinstance(reply, Refused)
        assert reply.model_dump() == due[row["key"]]
    stats = server.call("/stats")
    met = Counter(fault(row_of(row["messages"]) or "", 1, SHARE) for row in ROWS)
    assert stats["first_faults"] == len(ROWS) - met[None] > 0
    assert stats["requests"] == len(ROWS) + sum(stats["faults"].values())
    assert stats["most_in_flight"] <= 8


def test_each_fault_on_the_wire(server: Server) -> None:
    server.call("/reset", {})
    seen = set()
    for row in ROWS:
        kind = fault(row_of(row["messages"]) or "", 1, SHARE)
        schema = {"type": "json_schema", "json_schema": {"name": "r", "schema": Reply.model_json_schema()}}
        body = {"model": "m", "messages": row["messages"], "response_format": schema}
        started = time.monotonic()
        try:
            reply = httpx2.post(f"{server.base_url}/chat/completions", json=body)
        except httpx2.TransportError:
            kind_seen = "dropped"
        else:
            content = reply.json()["choices"][0]["message"]["content"] if reply.status_code == 200 else "{}"
            kind_seen = str(reply.status_code) if reply.status_code != 200 else None if _whole(content) else "malformed"
            if kind_seen == "429":
                assert reply.headers["retry-after"] == "0.25"
        assert kind_seen == kind
        assert time.monotonic() - started > 0.001
        seen.add(kind)
        if seen == {None, *FAULTS}:
            return
    pytest.fail(f"only {seen} in {len(ROWS)} rows")


def _whole(content: str) -> bool:
    try:
        json.loads(content)
    except json.JSONDecodeError:
        return False
    return True
