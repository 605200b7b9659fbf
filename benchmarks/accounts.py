"""From the faulty server's books and a client's output to the figures of the benchmark: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.ledger import ANSWERED, CUT_OFF


@dataclass(frozen=True)
class Run:
    """One client's run over all rows. Times in seconds, rates in rows a second; what is counted, the server counted."""

    rows_per_second: float
    """From the first request for a row to the last answer: what a fault costs in waiting is in it, start-up is not."""
    steady_rows_per_second: float
    """The same between the answers at 10% and at 90%: without warming up and without the last retries."""
    startup_seconds: float
    """From starting the process to the first request for a row: imports, probes, writing request files."""
    finish_seconds: float
    """From the last answer to the end of the process."""
    total_seconds: float
    client_cpu_seconds: float
    server_busy: float
    """CPU time of the server over that of the run: near 1, the server was the limit."""
    most_in_flight: int
    requests: int
    wasted: int
    """Requests beyond one a row, the client's own probes included."""
    causes: dict[str, int]
    lost: int
    wrong: int


def causes(stats: Mapping[str, Any]) -> dict[str, int]:
    """Why there were requests beyond one a row: by what became of the row's request before, and the client's probes."""
    return {**dict(sorted(stats["again"].items())), **({"probe": stats["probes"]} if stats["probes"] else {})}


def wasted(stats: Mapping[str, Any], rows: int) -> int:
    """Requests beyond one a row. Negative when rows were never asked for, which `lost` then shows."""
    return int(stats["requests"]) + int(stats["probes"]) - rows


def lost(expected: Mapping[str, Any], got: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """(rows with no reply, replies that are not the row's own, a second one for the same row among them)."""
    seen: set[str] = set()
    wrong = 0
    for reply in got:
        key = reply["key"]
        wrong += key in seen or key not in expected or {**reply} != {"key": key, **expected[key]}
        seen.add(key)
    return len(expected.keys() - seen), wrong


def rate_between(times: Sequence[float], low: float, high: float) -> float:
    """Answers a second between the answers at the shares `low` and `high` of all."""
    first, last = int(low * (len(times) - 1)), int(high * (len(times) - 1))
    return (last - first) / (times[last] - times[first]) if times[last] > times[first] else 0.0


def run(
    stats: Mapping[str, Any],
    expected: Mapping[str, Any],
    got: Iterable[Mapping[str, Any]],
    *,
    started: float,
    ended: float,
    client_cpu: float,
) -> Run:
    """The figures of one run. `started` and `ended`: the client's process, on the server's clock."""
    missing, wrong = lost(expected, got)
    first, times = stats["first_request"], stats["answer_times"]
    return Run(
        rows_per_second=len(times) / (times[-1] - first),
        steady_rows_per_second=rate_between(times, 0.1, 0.9),
        startup_seconds=first - started,
        finish_seconds=ended - times[-1],
        total_seconds=ended - started,
        client_cpu_seconds=client_cpu,
        server_busy=stats["cpu_seconds"] / (ended - first),
        most_in_flight=stats["most_in_flight"],
        requests=stats["requests"],
        wasted=wasted(stats, len(expected)),
        causes=causes(stats),
        lost=missing,
        wrong=wrong,
    )


@dataclass(frozen=True)
class Resumed:
    """A run killed in the middle and run again, by the server's books over both."""

    answered_at_kill: int
    unanswered_at_kill: int
    """Requests that had arrived at the server and that it had not answered."""
    most_in_flight: int
    requests: int
    distinct: int
    """Different request bodies; the same body again is what a retry sends."""
    after_faults: int
    """Requests that a fault made necessary, in either run."""
    repeated: int
    """Requests that the kill made necessary; to the client they were in flight, so there are at most as many as its
    concurrency allows. The sum of the next two."""
    repeated_unanswered: int
    """The server had not answered them."""
    repeated_answered: int
    """The server had sent the answer; the client, with many to read at once, was killed before it had kept this one."""
    probes: int
    lost: int
    wrong: int


def resumed(stats: Mapping[str, Any], expected: Mapping[str, Any], got: Iterable[Mapping[str, Any]]) -> Resumed:
    missing, wrong = lost(expected, got)
    again = stats["again"]
    return Resumed(
        answered_at_kill=stats["killed"]["answered"],
        unanswered_at_kill=stats["killed"]["unanswered"],
        most_in_flight=stats["most_in_flight"],
        requests=stats["requests"],
        distinct=stats["distinct"],
        after_faults=sum(number for cause, number in again.items() if cause not in (ANSWERED, CUT_OFF)),
        repeated=again.get(CUT_OFF, 0) + again.get(ANSWERED, 0),
        repeated_unanswered=again.get(CUT_OFF, 0),
        repeated_answered=again.get(ANSWERED, 0),
        probes=stats["probes"],
        lost=missing,
        wrong=wrong,
    )


def middle(runs: Sequence[Run]) -> Run:
    """The run with the median rate: whole, so that its figures belong together."""
    return sorted(runs, key=lambda each: each.rows_per_second)[(len(runs) - 1) // 2]


def table(columns: Mapping[str, Run | Resumed]) -> list[list[str]]:
    """Rows of text, a header first: one line a figure, one column a client."""
    names = list(columns)
    figures = [asdict(column) for column in columns.values()]
    lines = [["", *names]]
    for figure in figures[0]:
        values = [column[figure] for column in figures]
        lines.append([figure.replace("_", " "), *map(_text, values)])
    return lines


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items()) or "none"
    if isinstance(value, float):
        return f"{value:,.1f}" if value >= 10 else f"{value:.2f}"
    return f"{value:,}"
