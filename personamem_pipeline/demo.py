"""`make demo`: build what is out of date, then show the benchmark's table.

    python -m personamem_pipeline.demo

A composition root like definitions.py, so it may import Dagster. Everything stale is built in one Dagster run, shards
and checkpoints together; a second call finds nothing stale and only prints the table.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from dagster._utils.interrupts import capture_interrupts
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from assets.freshness import Stale, stale_assets
from assets.parents import latest
from personamem_pipeline.definitions import build_defs
from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import GRAPH, shard_names
from personamem_pipeline.presets import load_preset
from personamem_pipeline.settings import PROJECT, Settings, load_settings, switch_cache_off
from personamem_pipeline.store import Store

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def main() -> int:
    """Build what is stale and print the table; the exit code is 1 when an asset failed."""
    parser = argparse.ArgumentParser(description="Build what is out of date, then show the benchmark's table.")
    parser.add_argument("--results", type=Path, help="also copy the report's results.json to this file")
    parser.add_argument("--no-cache", action="store_true", help="ask models anew instead of reading the response cache")
    arguments = parser.parse_args()
    console = Console(file=os.fdopen(os.dup(sys.stdout.fileno()), "w"), highlight=False)
    try:
        if arguments.no_cache:
            switch_cache_off()
        settings = load_settings()
        os.environ.setdefault("DAGSTER_HOME", str(PROJECT / ".dagster_home"))
        shards = shard_names(load_preset(settings.preset, seed=settings.seed).data.shards)
        with dg.DagsterInstance.get() as instance:
            report = bring_up_to_date(console, build_defs(settings), instance, settings, shards)
    except UserError as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 2
    if report is None:
        return 1
    show(console, report)
    if arguments.results:
        arguments.results.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(report / "results.json", arguments.results)
    return 0


def bring_up_to_date(
    console: Console,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    settings: Settings,
    shards: Sequence[str],
) -> Path | None:
    """Build what is stale and return the report's directory; None when an asset failed."""
    store = Store(settings.store)
    stale = stale_assets(instance, store, code_versions(definitions), tuple(shards))
    if not stale:
        console.print("Everything is up to date: nothing to build, no model was called.")
    for item in stale:
        console.print(f"  {item.name:<18} {item.reason}", style="dim", markup=False)
    if stale and not _build(console, definitions, instance, stale, settings.home / "demo.log"):
        return None
    report = latest(instance, "benchmark_report", None, store)
    return store.path(report.kind, report.version) if report else None


def _build(
    console: Console, definitions: dg.Definitions, instance: dg.DagsterInstance, stale: Sequence[Stale], log: Path
) -> bool:
    started = time.monotonic()
    shards = tuple(sorted({shard for item in stale for shard in item.shards}))
    run_id = str(uuid.uuid4())
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<18}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}"),
    )
    with (
        Progress(*columns, console=console) as progress,
        output_to(log),
        watching(progress, instance, run_id, [item.name for item in stale], log),
        capture_interrupts(),
    ):
        result = materialize(definitions, instance, [item.name for item in stale], shards, run_id=run_id)
    if result.success:
        console.print(f"Built {len(stale)} assets in {time.monotonic() - started:.0f} s.")
        return True
    for name, message in failures(result):
        console.print(f"\n{name} failed:\n{message}", style="red", markup=False, soft_wrap=True)
    console.print(f"\nThe full log: {log}", markup=False, soft_wrap=True)
    return False


def code_versions(definitions: dg.Definitions) -> dict[str, str]:
    """Asset -> code version, of the code and preset that are loaded now."""
    graph = definitions.resolve_asset_graph()
    return {name: graph.get(dg.AssetKey(name)).code_version or "" for name in GRAPH}


def materialize(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    names: Sequence[str],
    shards: Sequence[str],
    *,
    run_config: Mapping[str, Any] | None = None,
    run_id: str | None = None,
) -> dg.ExecuteInProcessResult:
    """Materialize assets in one run; of sharded ones, all shards from the first to the last of `shards`."""
    keys = [dg.AssetKey(name) for name in names]
    job = definitions.resolve_implicit_job_def_def_for_assets(keys)
    assert job is not None
    tags = {}
    if any(GRAPH[name].sharded for name in names):
        tags = {ASSET_PARTITION_RANGE_START_TAG: shards[0], ASSET_PARTITION_RANGE_END_TAG: shards[-1]}
    return job.execute_in_process(
        instance=instance,
        asset_selection=keys,
        tags=tags,
        run_config={**QUIET, **(run_config or {})},
        raise_on_error=False,
        run_id=run_id,
    )


def failures(result: dg.ExecuteInProcessResult) -> list[tuple[str, str]]:
    """(asset, message) of every step that failed, without tracebacks."""
    found = []
    for event in result.get_step_failure_events():
        data = event.step_failure_data
        own = data.user_failure_data.description if data.user_failure_data else None
        cause = data.error
        while cause is not None and cause.cause is not None:
            cause = cause.cause
        found.append((event.step_key or "run", own or (cause.message.strip() if cause else "no message")))
    return found


@contextmanager
def output_to(log: Path) -> Iterator[None]:
    """Send this process's output and that of its children to a file: the terminal is for the progress display."""
    log.parent.mkdir(parents=True, exist_ok=True)
    saved = {number: os.dup(number) for number in (1, 2)}
    with log.open("wb") as file:
        sys.stdout.flush()
        sys.stderr.flush()
        for number in saved:
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in saved.items():
                os.dup2(copy, number)
                os.close(copy)


@contextmanager
def watching(
    progress: Progress, instance: dg.DagsterInstance, run_id: str, names: Sequence[str], log: Path
) -> Iterator[None]:
    """Show each asset's state, and beside the running one the last line of its log."""
    tasks = {name: progress.add_task(name, total=1, start=False, now="") for name in names}
    running: list[str] = []
    over = threading.Event()

    def listen(entry: dg.EventLogEntry) -> None:
        event, name = entry.dagster_event, entry.step_key or ""
        if event is None or name not in tasks:
            return
        if event.is_step_start:
            running[:] = [name]
            progress.start_task(tasks[name])
        elif event.is_step_success or event.is_step_failure or event.is_step_skipped:
            running.clear()
            ending = "done" if event.is_step_success else "failed" if event.is_step_failure else "skipped"
            progress.update(tasks[name], completed=1, now=ending)
            progress.stop_task(tasks[name])

    def tail() -> None:
        while not over.wait(0.5):
            for name in running:
                progress.update(tasks[name], now=last_line(log))

    instance.add_event_listener(run_id, listen)
    thread = threading.Thread(target=tail, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def last_line(log: Path, width: int = 70) -> str:
    """The last line of a growing file, for a display one line wide."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2000))
        lines = file.read().decode(errors="replace").splitlines()
    return escape(lines[-1][:width]) if lines else ""


def show(console: Console, report: Path) -> None:
    """The benchmark's table, where the report is, and how to look further."""
    results = json.loads((report / "results.json").read_text())
    table = Table("system", "accuracy", "95% interval", "answers", title="Held-out persons, multiple choice")
    for row in results["systems"]:
        low, high = row["low"], row["high"]
        interval = "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
        table.add_row(row.get("label") or row["name"], f"{row['accuracy']:.3f}", interval, str(row["n"]))
    console.print(table)
    console.print(f"Report: {report / 'report.html'}", markup=False, soft_wrap=True)
    console.print("Graph, lineage and checks: make ui")


if __name__ == "__main__":
    sys.exit(main())
