"""Verifications as a table for people and as JSON for programs, and how tables of papers look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from personamem_pipeline.passports.links import Link, Verification

STYLES = {"ok": "green", "BROKEN": "bold red", "gap": "yellow", "note": "cyan"}
VERDICTS = {
    "whole": "whole: every digest was recomputed down to the seeds' source, and the papers agree",
    "incomplete": "not broken, but not all of it can be shown: what is stated agrees, and the gaps are above",
    "broken": "BROKEN: do not rely on this checkpoint before the break is explained",
}


def show_verification(found: Verification, console: Console, *, every: bool = False) -> None:
    """The links as a table, shards that are alike in one line unless `every`; then the first break, and what it means."""
    table = table_of("link", "recomputed", "result", "found", title=f"{found.stage} {found.checkpoint}")
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
        say(console, f"{link.status}: {link.means}")
    if first := found.first_break:
        say(console, f"first broken link: {first.about}: {first.what}")
        say(console, f"  found: {first.found}")
        say(console, f"  means: {first.means}")
        if others := len(found.of("BROKEN")) - 1:
            say(console, f"  {others} more broken link{'s' if others > 1 else ''} in the table")
    say(console, VERDICTS[found.outcome])


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


def table_of(*columns: str, title: str = "") -> Table:
    """An empty table."""
    table = Table(title=Text(title) if title else None, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)  # a name in one piece can be copied
    return table


def say(console: Console, line: str) -> None:
    """A line as it is, whatever a terminal would make of it."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
