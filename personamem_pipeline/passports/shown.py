"""Verifications and traces as tables for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from personamem_pipeline.passports.chain import SHORT
from personamem_pipeline.passports.holding import Held, Holder
from personamem_pipeline.passports.links import Link, Verification
from personamem_pipeline.passports.trace import Sight, Touched
from personamem_pipeline.passports.used import steps_of

STYLES = {"ok": "green", "BROKEN": "bold red", "gap": "yellow", "note": "cyan"}
VERDICTS = {
    "whole": "whole: every digest was recomputed down to the seeds' source, and the papers agree",
    "incomplete": "not broken, but not all of it can be shown: what is stated agrees, and the gaps are above",
    "broken": "BROKEN: do not rely on this checkpoint before the break is explained",
}


def show_verification(found: Verification, console: Console, *, every: bool = False) -> None:
    """The links as a table, shards that are alike in one line unless `every`; then the first break, and what it means."""
    table = _table("link", "recomputed", "result", "found", title=f"{found.stage} {found.checkpoint}")
    for about, links in _rows(found.links, every=every):
        link = links[0]
        table.add_row(
            Text(about),
            Text(link.what),
            Text(link.status, STYLES[link.status]),
            Text(_found(links), overflow="fold"),
        )
    console.print(table)
    for link in {link.means: link for link in (*found.of("gap"), *found.of("note")) if link.means}.values():
        _say(console, f"{link.status}: {link.means}")
    if first := found.first_break:
        _say(console, f"first broken link: {first.about}: {first.what}")
        _say(console, f"  found: {first.found}")
        _say(console, f"  means: {first.means}")
        if others := len(found.of("BROKEN")) - 1:
            _say(console, f"  {others} more broken link{'s' if others > 1 else ''} in the table")
    _say(console, VERDICTS[found.outcome])


def verification_json(found: Verification) -> dict[str, Any]:
    first = found.first_break
    return {
        "checkpoint": found.checkpoint,
        "stage": found.stage,
        "directory": found.directory,
        "outcome": found.outcome,
        "first_break": asdict(first) if first else None,
        "links": [asdict(link) for link in found.links],
    }


def show_rows(touched: Sequence[Touched], console: Console, limit: int) -> None:
    """What each checkpoint of a chain saw, and the rows with the steps that saw them, the first `limit` by id."""
    table = _table("checkpoint", "steps", "rows a step", "different rows", "what is not known", title="what touched it")
    for each in touched:
        used = each.used
        sizes = sorted(map(len, used.steps)) if used else []
        counts = (
            [str(len(sizes)), f"{sizes[0]} to {sizes[-1]}" if sizes else "", str(len(used.ids))] if used else [""] * 3
        )
        table.add_row(f"{each.stage} {each.checkpoint[:SHORT]}", *counts, Text(each.problem))
    console.print(table)
    known = {each.stage: steps_of(each.used, each.used.ids) for each in touched if each.used}
    rows = sorted({row for steps in known.values() for row in steps})
    if not rows:
        return
    listed = _table("row", *(f"steps of {stage}" for stage in known))
    for row in rows[:limit]:
        listed.add_row(Text(row), *(_steps(steps.get(row, [])) for steps in known.values()))
    console.print(listed)
    if len(rows) > limit:
        _say(console, f"{len(rows) - limit} more rows: --rows {len(rows)}, or --json")


def rows_json(touched: Sequence[Touched]) -> dict[str, Any]:
    return {
        "chain": [
            {
                "checkpoint": each.checkpoint,
                "stage": each.stage,
                "steps": len(each.used.steps) if each.used else None,
                "rows_per_step": [len(step) for step in each.used.steps] if each.used else None,
                "rows": steps_of(each.used, each.used.ids) if each.used else None,
                "problem": each.problem,
            }
            for each in touched
        ]
    }


def show_trace(name: str, held: Held, above: Sequence[Holder], seen: Sequence[Sight], console: Console) -> None:
    """Where a row or person is, who wrote it, and which checkpoints have to be trained again without it."""
    table = _table("data", "rows", "refused", "author", "prompts", "seed", "code version", title=f"{name} is in")
    for holder in (*above, *held.holders):
        made = [holder.producer.get(key, "") for key in ("author", "prompts", "seed", "code_version")]
        made[1] = made[1][:SHORT]
        label = f"{holder.asset} {holder.version[:SHORT]}"
        table.add_row(label, str(holder.rows), str(holder.rejected or ""), *map(Text, made))
    console.print(table)
    if seen:
        sights = _table("checkpoint", "saw it", "rows", "steps", "train again", "because", title="checkpoints")
        for sight in seen:
            steps = sorted({step for each in sight.steps.values() for step in each})
            sights.add_row(
                f"{sight.stage} {sight.checkpoint[:SHORT]}", sight.how, str(len(sight.steps) or ""), _steps(steps),
                Text("yes", "bold red") if sight.retrain else Text("no", "green"), Text(sight.why),
            )  # fmt: skip
        console.print(sights)
    for line in held.broken:
        _say(console, f"not searched, because it is not whole: {line}")
    again = sum(sight.retrain for sight in seen)
    _say(console, f"checkpoints that have learned from it, or may have, and must be trained again without it: {again}")


def trace_json(name: str, held: Held, above: Sequence[Holder], seen: Sequence[Sight]) -> dict[str, Any]:
    return {
        "name": name,
        "data": [{**asdict(holder), "producer": dict(holder.producer)} for holder in held.holders],
        "behind": [{**asdict(holder), "producer": dict(holder.producer)} for holder in above],
        "not_searched": list(held.broken),
        "checkpoints": [{**asdict(sight), "retrain": sight.retrain} for sight in seen],
    }


def _rows(links: Sequence[Link], *, every: bool) -> Iterator[tuple[str, list[Link]]]:
    """Lines of the table: neighbouring links of the shards of one asset with one outcome share one, unless `every`."""

    def alike(link: Link) -> tuple[str, ...]:
        asset, _, shard = link.about.partition("/")
        together = shard and link.status != "BROKEN" and not every
        return (asset if together else link.about, link.what, link.status)

    for (about, _, _), group in groupby(links, alike):
        shards = list(group)
        yield (f"{about}, {len(shards)} shards" if len(shards) > 1 else shards[0].about), shards


def _found(links: Sequence[Link]) -> str:
    return links[0].found if len(links) == 1 else f"the first: {links[0].found}"


def _steps(steps: Sequence[int]) -> str:
    """`12 steps: 1, 5, 9, ...`."""
    if not steps:
        return ""
    few = ", ".join(map(str, steps[:6])) + (", ..." if len(steps) > 6 else "")
    return f"{few} ({len(steps)})" if len(steps) > 1 else few


def _table(*columns: str, title: str = "") -> Table:
    table = Table(title=Text(title) if title else None, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)  # a name in one piece can be copied
    return table


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
