"""Our model client beside `bespokelabs-curator`: the same rows, the same faulty endpoint, in one run.

    uv venv .venv-curator && uv pip install --python .venv-curator/bin/python -r benchmarks/curator-requirements.txt
    python -m benchmarks.authoring --curator-python .venv-curator/bin/python

It starts a local OpenAI-compatible server (`faulty_server.py`: 50 ms an answer, 5% faults that both clients meet alike)
and measures, for each client in a process of its own with an empty cache:

- rows a second, from the first request to the last answer and in the steady part; start-up and finish beside them,
  since curator imports much and probes the endpoint first;
- wasted calls: requests beyond one a row, by cause; lost rows, and wrong ones: every reply is compared with the row's;
- a re-run after `kill -9` when half of the rows are answered: what was in flight and what was asked again.

The clients take turns and the run with the median rate is shown; the ratio is the median of the rounds' ratios. Both have
their caches on and the same `--concurrency`. All runs, and the machine's load, go into benchmarks/results/authoring.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import accounts
from benchmarks.authoring_ours import Reply, prompt
from benchmarks.faulty_server import answer, row_of
from personamem_pipeline.errors import UserError
from personamem_pipeline.seeds import rng

HERE = Path(__file__).resolve().parent
WORDS = (
    "asks",
    "mentions",
    "plans",
    "prefers",
    "avoids",
    "cooks",
    "reads",
    "walks",
    "paints",
    "early",
    "late",
    "quiet",
)
OURS, CURATOR = "personamem-pipeline", "bespokelabs-curator"


@dataclass(frozen=True)
class Client:
    """How to run a client: a command that takes BASE_URL, rows, output, a work directory and the concurrency."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Server:
    """The faulty server, running."""

    base_url: str

    def call(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self.base_url.removesuffix("/v1") + path, data) as reply:
            return dict(json.load(reply))


@contextmanager
def served(options: argparse.Namespace) -> Iterator[Server]:
    flags = [f"--latency-ms={options.latency_ms}", f"--faults={options.faults}", f"--retry-after={options.retry_after}"]
    command = [sys.executable, "-m", "benchmarks.faulty_server", *flags]
    with subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Server(process.stdout.readline().strip())
        finally:
            process.terminate()


def rows(number: int) -> Iterator[dict[str, Any]]:
    """Requests of about the size of an author's brief, no two alike."""
    for index in range(number):
        words = rng(0, "benchmark rows", index).choices(WORDS, k=150)
        row: dict[str, Any] = {
            "key": f"row-{index:06d}",
            "instructions": "Write what the person in the brief would say, and rate how sure you are.",
            "brief": {"row": index, "person": " ".join(words[:100]), "before": " ".join(words[100:])},
        }
        yield {**row, "messages": prompt(row).messages}


def expected(asked: list[dict[str, Any]]) -> dict[str, Any]:
    """What each row's reply must be."""
    schema = Reply.model_json_schema()
    return {row["key"]: answer(schema, row_of(row["messages"]) or "") for row in asked}


class Bench:
    """Runs clients over one file of rows against one server."""

    def __init__(self, server: Server, asked: list[dict[str, Any]], concurrency: int, work: Path) -> None:
        self.server, self.expected, self.concurrency, self.work = server, expected(asked), concurrency, work
        self.rows = work / "rows.jsonl"
        self.rows.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in asked))

    def run(self, client: Client, name: str) -> accounts.Run:
        self.server.call("/reset", {})
        started = time.monotonic()
        process = self._start(client, name)
        _, status, usage = os.wait4(process.pid, 0)
        ended = time.monotonic()
        process.returncode = os.waitstatus_to_exitcode(status)
        self._finished(client, name, process.returncode)
        return accounts.run(
            self.server.call("/stats"), self.expected, self._replies(name),
            started=started, ended=ended, client_cpu=usage.ru_utime + usage.ru_stime,
        )  # fmt: skip

    def resume(self, client: Client, name: str) -> accounts.Resumed:
        self.server.call("/reset", {})
        process = self._start(client, name)
        self.server.call("/kill", {"pid": process.pid, "after": len(self.expected) // 2})
        process.wait()
        if not self.server.call("/stats")["killed"]:
            self._finished(client, name, process.returncode or 1)
        self._finished(client, name, self._start(client, name).wait())
        return accounts.resumed(self.server.call("/stats"), self.expected, self._replies(name))

    def _start(self, client: Client, name: str) -> subprocess.Popen[bytes]:
        where = self.work / name
        where.mkdir(exist_ok=True)
        arguments = (self.server.base_url, self.rows, where / "out.jsonl", where, self.concurrency)
        with (where / "log.txt").open("ab") as log:
            return subprocess.Popen([*client.command, *map(str, arguments)], cwd=HERE.parent, stdout=log, stderr=log)

    def _finished(self, client: Client, name: str, code: int) -> None:
        if code:
            log = (self.work / name / "log.txt").read_text(errors="replace")
            raise UserError(f"{client.name} ended with code {code}", where=self.work / name, remedy=log[-3000:])

    def _replies(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.work / name / "out.jsonl").read_text().splitlines()]


@dataclass
class Found:
    """What was measured, by client's name; `failed` holds the error of a client that could not be run to its end."""

    runs: dict[str, list[accounts.Run]]
    resumed: dict[str, accounts.Resumed]
    failed: dict[str, str]


def measure(options: argparse.Namespace, clients: list[Client]) -> Found:
    """All rounds and the resumed runs of all clients. A failing curator is reported, a failure of ours ends it all."""
    found = Found({client.name: [] for client in clients}, {}, {})
    with served(options) as server, tempfile.TemporaryDirectory(prefix="authoring-") as work:
        bench = Bench(server, list(rows(options.rows)), options.concurrency, Path(work))

        def attempt(client: Client, turn: int | None) -> None:
            if client.name in found.failed:
                return
            try:
                if turn is None:
                    found.resumed[client.name] = bench.resume(client, f"{client.name}-resumed")
                else:
                    found.runs[client.name].append(bench.run(client, f"{client.name}-{turn}"))
            except UserError as error:
                if client.name == OURS:
                    raise
                found.failed[client.name] = str(error)
                found.runs.pop(client.name)

        for turn in range(options.rounds):
            for client in clients if turn % 2 == 0 else clients[::-1]:
                attempt(client, turn)
        for client in clients:
            attempt(client, None)
    return found


def ratio(runs: Mapping[str, list[accounts.Run]], figure: str) -> float | None:
    """Our figure over curator's, the median of the rounds'; None without curator."""
    if CURATOR not in runs:
        return None
    pairs = zip(runs[OURS], runs[CURATOR], strict=True)
    return statistics.median(float(getattr(ours, figure) / getattr(theirs, figure)) for ours, theirs in pairs)


def markdown(lines: list[list[str]]) -> str:
    head, *body = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *body])


def shown(title: str, lines: list[list[str]]) -> Table:
    table = Table(title=title)
    for index, name in enumerate(lines[0]):
        table.add_column(name, justify="right" if index else "left")
    for line in lines[1:]:
        table.add_row(*line)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--faults", type=float, default=0.05, help="share of requests that fail")
    parser.add_argument("--latency-ms", type=float, default=50)
    parser.add_argument("--retry-after", type=float, default=0, help="seconds that a 429 names; 0: no such header")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--curator-python", type=Path, default=HERE.parent / ".venv-curator" / "bin" / "python")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "authoring.json")
    options = parser.parse_args()

    load = os.getloadavg()
    clients = [Client(OURS, (sys.executable, "-m", "benchmarks.authoring_ours"))]
    if options.curator_python.exists():
        clients.append(Client(CURATOR, (str(options.curator_python), str(HERE / "authoring_curator.py"))))
    found = measure(options, clients)
    if not options.curator_python.exists():
        found.failed[CURATOR] = f"{options.curator_python} does not exist; --help says how to make it"
    compared = ("rows_per_second", "steady_rows_per_second", "total_seconds", "client_cpu_seconds")
    ratios = {name: ratio(found.runs, name) for name in compared}

    speed = accounts.table({name: accounts.middle(runs) for name, runs in found.runs.items()})
    titles = (f"{options.rows} rows, {options.faults:.0%} faults", "killed at half of the rows, run again")
    for title, lines in zip(titles, (speed, accounts.table(found.resumed)), strict=True):
        Console().print(shown(title, lines))
        print(f"\n{markdown(lines)}\n")
    if CURATOR in found.runs:
        print(
            "ours over curator's, median of rounds:", ", ".join(f"{name} {value:.2f}" for name, value in ratios.items())
        )
    for name, error in found.failed.items():
        print(f"NOT MEASURED: {name}: {error}")
    report = {
        "options": {name: value for name, value in vars(options).items() if not isinstance(value, Path)},
        "cpus": os.cpu_count(),
        "load_average": {"before": load, "after": os.getloadavg()},
        "ours_over_curator": ratios,
        "runs": {name: [asdict(run) for run in runs] for name, runs in found.runs.items()},
        "resumed": {name: asdict(run) for name, run in found.resumed.items()},
        "failed": found.failed,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\nall runs: {options.out}; load average before {load[0]:.1f}, after {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
