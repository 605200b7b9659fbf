"""The command about the store: `personamem store gc`, which shows or deletes what nothing alive comes from.

What is alive, Dagster says (DAGSTER_HOME), so this command and `demo` are the two that load it.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING

from personamem_pipeline.arguments import count, not_negative
from personamem_pipeline.errors import UserError

if TYPE_CHECKING:
    from personamem_pipeline.settings import Settings
    from personamem_pipeline.store import Store
    from personamem_pipeline.store.gc import Found, Plan

HOURS = 24.0
REPORTS = 10
LISTED = 40
REGISTERED = "grpo_checkpoint"
"""The asset whose checkpoints MLflow registers."""


def add_store_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `store` to the commands of `personamem`."""
    store = commands.add_parser("store", help="the store of datasets, checkpoints and reports")
    collect = store.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "gc",
        help="show, or delete, what nothing alive comes from",
        description="Show, or delete, what no latest materialization, registered model or kept report comes from.",
    )
    collect.set_defaults(run=_collect)
    collect.add_argument("--delete", action="store_true", help="really delete it; default: only show it")
    collect.add_argument("--keep-reports", type=count, default=REPORTS, metavar="N",
                         help=f"also keep the N newest reports and what they are about; default: {REPORTS}")  # fmt: skip
    collect.add_argument("--keep", action="append", default=[], metavar="VERSION",
                         help="also keep what begins so, with what it comes from; may be repeated")  # fmt: skip
    collect.add_argument("--without-mlflow", action="store_true",
                         help="do not ask which registered models are in use: they may be deleted")  # fmt: skip
    collect.add_argument("--although-missing", action="store_true",
                         help="delete although something alive is not in the store: what only that comes from "
                              "goes, too; default: refuse")  # fmt: skip
    collect.add_argument("--hours", type=not_negative, default=HOURS, metavar="H",
                         help=f"touch nothing younger; a running stage may be writing it; default: {HOURS:g}")  # fmt: skip


def _collect(arguments: argparse.Namespace) -> None:
    from personamem_pipeline.settings import load_settings
    from personamem_pipeline.store import Store, gc

    now, age = time.time(), arguments.hours * 3600
    settings = load_settings()
    store = Store(settings.store)
    # First what is alive, then what lies there: what is put in between is young.
    latest, registered, since = _alive(settings, now - age, ask_mlflow=not arguments.without_mlflow)
    found = gc.look(store)
    chosen = gc.plan(
        found,
        latest,
        {*registered, *_kept_by_hand(found, arguments.keep)},
        lambda held: gc.named_by(store, held),
        now=now,
        age=now - since,  # also what a run has put that is older and still going
        keep_reports=arguments.keep_reports,
    )
    _show(store, chosen, {**registered, **latest})
    if not arguments.delete:
        print(f"nothing was deleted; --delete{' --although-missing' if chosen.missing else ''} does it")
        return
    if chosen.missing and not arguments.although_missing:
        raise UserError(
            f"{len(chosen.missing)} alive and not in the store, as shown above, so that nobody knows what they come from",
            where=store.url,
            expected="everything that is alive",
            remedy="set PERSONAMEM_STORE to where it is, or materialize it again; or say --although-missing",
        )
    print(f"deleted: {_size(gc.execute(store, chosen))}")


def _alive(settings: Settings, since: float, *, ask_mlflow: bool) -> tuple[dict[str, str], dict[str, str], float]:
    """Version -> what says that it is alive, for Dagster's and for MLflow's; and since when everything that was written
    is."""
    import dagster as dg

    from assets.live import live_versions, registered_versions
    from personamem_pipeline.settings import PROJECT
    from resources.tracking import Tracking

    os.environ.setdefault("DAGSTER_HOME", str(PROJECT / ".dagster_home"))
    with dg.DagsterInstance.get() as instance:
        latest, since = live_versions(instance, since=since)
    registered = registered_versions(Tracking(uri=settings.mlflow_uri)) if ask_mlflow else {}
    if ask_mlflow and not registered and REGISTERED in latest.values():
        raise UserError(
            f"Dagster knows a {REGISTERED}, and this MLflow names no registered model",
            where="MLFLOW_TRACKING_URI",
            expected="the MLflow that Dagster's runs told of their checkpoints, so that the champion stays",
            remedy="set it; or say --without-mlflow if no registered model is in use",
        )
    return latest, registered, since


def _kept_by_hand(found: Found, starts: list[str]) -> set[str]:
    here = {held.version for held in found.things}
    for start in starts:
        if not any(version.startswith(start) for version in here):
            raise UserError(f"no version begins with {start!r}", where="--keep", remedy="correct it")
    return {version for version in here if version.startswith(tuple(starts))}


def _show(store: Store, chosen: Plan, alive: dict[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(title=store.url, title_justify="left", box=None)
    table.add_column("kind")
    for heading in ("stay", "", "go", ""):
        table.add_column(heading, justify="right")
    for kind in sorted({held.kind for held in (*chosen.kept, *chosen.things)}):
        stay = [held.bytes for held in chosen.kept if held.kind == kind]
        go = [held.bytes for held in chosen.things if held.kind == kind]
        table.add_row(kind, str(len(stay)), _size(sum(stay)), str(len(go)), _size(sum(go)))
    for name, others in (("scratch of runs", chosen.runs), ("leftovers of killed writers", chosen.leftovers)):
        table.add_row(name, "", "", str(len(others)), _size(sum(one.bytes for one in others)))
    console.print(table)
    going = [f"{held.kind}/{held.version[:12]}" + ("" if held.whole else " (half)") for held in chosen.things]
    going += [run.directory.name for run in chosen.runs] + [leftover.path for leftover in chosen.leftovers]
    for name in going[:LISTED]:
        console.print(f"  goes: {name}", markup=False)
    if len(going) > LISTED:
        console.print(f"  and {len(going) - LISTED} more")
    for version in chosen.missing:
        console.print(f"  not in the store, though alive: {alive[version]} {version[:12]}", markup=False)
    console.print(f"in all: {_size(chosen.bytes)} to free")


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
