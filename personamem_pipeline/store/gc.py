"""Garbage collection: what nothing alive comes from goes, and what killed writers left.

Alive are the versions that somebody names as such (Dagster's latest materializations, registered models), the newest
reports, everything that is younger than an age, what work that young was to be made from or came to, and whatever one of
these names in its manifest or passport, down to the seeds. A report does not keep the report before it: else nothing
would ever go.

The age (a day, unless a person says otherwise) protects the work of running stages: what they write is young, and what
is put again becomes young. Scratch of a finished stage goes with its result; that of an unfinished one, from which the
next run may go on, when nothing that it was to be made from is alive. Scratch is local: a stage that somebody runs from a
shell of another machine, on a bucket, is not seen here.

Only a manifest says what a thing comes from. So nothing is deleted while one that stays has lost it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.lineage import PASSPORT, REPORTS
from personamem_pipeline.store.place import Held, Leftover
from personamem_pipeline.store.runs import Run, find_runs
from personamem_pipeline.store.store import Store
from personamem_pipeline.store.writing import discard

_NAMED = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Found:
    """Everything that lies in a store."""

    things: tuple[Held, ...]
    runs: tuple[Run, ...]
    leftovers: tuple[Leftover, ...]


@dataclass(frozen=True)
class Plan:
    """What stays and what goes."""

    kept: tuple[Held, ...]
    things: tuple[Held, ...]
    runs: tuple[Run, ...]
    leftovers: tuple[Leftover, ...]
    missing: tuple[str, ...]
    """Versions that are alive and not in the store: what only they come from is among what goes."""

    @property
    def bytes(self) -> int:
        """What its execution frees."""
        going: tuple[Held | Run | Leftover, ...] = (*self.things, *self.runs, *self.leftovers)
        return sum(one.bytes for one in going)


def plan(
    found: Found,
    latest: Iterable[str],
    others: Iterable[str],
    names: Callable[[Held], Iterable[str]],
    *,
    now: float,
    age: float,
    keep_reports: int,
) -> Plan:
    """Decide. Alive are `latest`, the versions that Dagster names, and `others`, whoever names them. `names` gives the
    versions that a thing names, and is asked about what stays only; `now` is in seconds since the epoch, `age` in seconds.

    Raises:
        UserError: nothing that lies here is Dagster's, as when the store is another's; others may share a model or two.
        IntegrityError: something that is to stay has no manifest.
    """
    things = {held.version: held for held in found.things}
    latest = set(latest)
    if things and not latest & set(things):
        raise UserError(
            f"none of the {len(things)} versions in the store is the latest of any asset",
            expected="a store and a Dagster instance (DAGSTER_HOME) that belong together",
            remedy="set DAGSTER_HOME, or PERSONAMEM_STORE; delete a store that is not used any more by hand",
        )
    alive, long_ago = latest | set(others), now - age
    in_work = {version for run in found.runs if run.touched > long_ago for version in run.versions}
    whole = [held for held in found.things if held.whole]
    young = {held.version for held in whole if held.touched > long_ago}
    reports = sorted((held for held in whole if held.kind == REPORTS), key=lambda held: held.touched)
    newest = {held.version for held in reports[max(len(reports) - keep_reports, 0) :]}
    kept = _closure((alive | in_work | young | newest) & set(things), things, names)
    return Plan(
        kept=tuple(held for held in found.things if held.version in kept),
        things=tuple(held for held in found.things if held.version not in kept and held.touched <= long_ago),
        runs=tuple(run for run in found.runs if not run.versions & kept and run.touched <= long_ago),
        leftovers=tuple(one for one in found.leftovers if one.touched <= long_ago),
        missing=tuple(sorted(alive - set(things))),
    )


def _closure(roots: set[str], things: Mapping[str, Held], names: Callable[[Held], Iterable[str]]) -> set[str]:
    kept: set[str] = set()
    waiting = sorted(roots)
    while waiting:
        version = waiting.pop()
        if version in kept:
            continue
        if not things[version].whole:
            raise IntegrityError(
                "it is to stay and has no manifest, so nobody knows what else is",
                where=f"{things[version].kind}/{version}",
                expected="a whole thing: it is alive, or kept by hand, or what stays comes from it",
                remedy="materialize it again, or put its manifest back; delete it by hand only if what it comes from may go",
            )
        kept.add(version)
        waiting += [name for name in names(things[version]) if name in things and things[name].kind != REPORTS]
    return kept


def look(store: Store) -> Found:
    """What lies in a store."""
    return Found(tuple(store.place.holdings()), tuple(find_runs(store.scratch)), tuple(store.place.leftovers()))


def named_by(store: Store, held: Held) -> set[str]:
    """Whatever may be a version in a thing's manifest and passport: rather too much than too little.

    Raises:
        IntegrityError: they are damaged, so that nobody knows what the thing comes from; nothing may be deleted then.
    """
    manifest = store.manifest(held.kind, held.version)
    texts = [manifest.text]
    if any(entry.path == PASSPORT for entry in manifest.files):
        texts.append(store.read(held.kind, held.version, PASSPORT).decode())
    return {name for text in texts for name in _NAMED.findall(text)}


def execute(store: Store, chosen: Plan) -> int:
    """Delete what the plan says, except what was touched since; returns the bytes that were freed.

    Killed at any moment it leaves whole things and leftovers, which the next garbage collection finds.
    """
    freed = sum(held.bytes for held in chosen.things if store.place.remove(held))
    freed += sum(run.bytes for run in chosen.runs if discard(run.directory, untouched_since=run.touched))
    for leftover in chosen.leftovers:
        store.place.sweep(leftover)
        freed += leftover.bytes
    return freed
