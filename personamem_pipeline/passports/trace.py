"""Which rows touched a checkpoint, and which checkpoints saw a row or a person: `personamem lineage`.

A person who withdraws must be taken out of every checkpoint that learned from them. A checkpoint did if one of its own
steps saw a row of theirs, or if it grew from a checkpoint that did. Where a checkpoint does not say which rows it saw, or
what it says cannot be believed, everybody of its dataset counts as seen: nothing is told to be safe that is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.lineage import CHECKPOINTS, GRAPH, PASSPORT
from personamem_pipeline.passports.chain import SHORT, Thing, walk
from personamem_pipeline.passports.examine import DATASET
from personamem_pipeline.passports.finding import FoundCheckpoint, stage_of
from personamem_pipeline.passports.records import ROWS, RowsUsed, parse_passport
from personamem_pipeline.passports.seen_rows import dataset_rows
from personamem_pipeline.passports.sources import BASE
from personamem_pipeline.passports.used import parse_rows, steps_of
from personamem_pipeline.store import Manifest, Store, read_manifest

How = Literal["directly", "through a parent", "cannot be told", "by no step"]
"""How a checkpoint saw a row. `by no step`: its dataset holds the row, and no step of it or of its parents saw it."""


@dataclass(frozen=True)
class Sight:
    """What one checkpoint has to do with a row or person."""

    checkpoint: str
    stage: str
    how: How
    steps: Mapping[str, list[int]] = field(default_factory=dict)
    """Row id -> the optimizer steps, from 1, of this very checkpoint that saw it."""
    why: str = ""
    """By which parent, or why it cannot be told."""

    @property
    def retrain(self) -> bool:
        """Whether the checkpoint has learned from it, or may have."""
        return self.how != "by no step"


@dataclass(frozen=True)
class Touched:
    """The rows that one checkpoint of a chain saw."""

    checkpoint: str
    stage: str
    used: RowsUsed | None
    problem: str = ""
    """Why it is not known, where it is not; empty for a base model, which saw none of our rows."""


def rows_of(store: Store, found: FoundCheckpoint) -> list[Touched]:
    """What touched a checkpoint: the rows of its own steps, then those of the checkpoints that it grew from."""
    touched: list[Touched] = []
    root = read_manifest(found.directory(store), expected_version=found.version)

    def visit(thing: Thing) -> dict[str, str]:
        own = thing.version == root.version
        manifest = root if own else store.manifest(CHECKPOINTS, thing.version)
        used, problem = _used(store, found if own else FoundCheckpoint(thing.version), manifest, thing.name)
        touched.append(Touched(thing.version, thing.name, used, problem))
        return {name: version for name, version in manifest.parents.items() if _trained(name)}

    stage = stage_of(store, found, root)
    if stage not in GRAPH:
        raise IntegrityError(
            f"its papers say that {stage} made it", where=found.directory(store), expected="an asset of the graph"
        )
    walk({stage: root.version}, visit)
    return touched


def sights(store: Store, name: str) -> list[Sight]:
    """All checkpoints of the store that have to do with the row or person of that name, those put first at the front."""

    @cache
    def rows(dataset: str) -> dict[str, str]:
        return dataset_rows(store.verified(DATASET, dataset))

    @cache
    def sight(version: str) -> Sight | None:
        try:
            manifest = store.manifest(CHECKPOINTS, version)
            stage = stage_of(store, FoundCheckpoint(version), manifest) or "checkpoint"
        except IntegrityError as error:
            return Sight(version, "checkpoint", "cannot be told", why=error.problem)
        own = _own_sight(version, stage, manifest)
        if own and own.retrain:
            return own
        for parent_name, parent in sorted(manifest.parents.items()):
            if _trained(parent_name) and (above := sight(parent)) and above.retrain:
                return Sight(version, stage, "through a parent", why=f"{parent_name} {parent[:SHORT]}, {above.how}")
        return own

    def _own_sight(version: str, stage: str, manifest: Manifest) -> Sight | None:
        if stage == BASE:
            return None
        used, problem = _used(store, FoundCheckpoint(version), manifest, stage)
        if DATASET not in manifest.parents:
            return Sight(version, stage, "cannot be told", why="it does not say which dataset it was trained on")
        try:
            known = rows(manifest.parents[DATASET])
        except IntegrityError as error:
            if used and name in used.ids:
                return Sight(version, stage, "directly", steps_of(used, [name]))
            return Sight(version, stage, "cannot be told", why=f"its dataset: {error.problem}")
        wanted = [row for row, person in known.items() if name in (row, person)]
        if not wanted:
            return None
        if used is None:
            return Sight(version, stage, "cannot be told", why=problem)
        steps = steps_of(used, wanted)
        return Sight(version, stage, "directly" if steps else "by no step", steps)

    return [found for version in store.versions(CHECKPOINTS) if (found := sight(version))]


def _trained(name: str) -> bool:
    """Whether an asset is a checkpoint that learned from our rows."""
    return name in GRAPH and GRAPH[name].kind == CHECKPOINTS and name != BASE


def _used(store: Store, found: FoundCheckpoint, manifest: Manifest, stage: str) -> tuple[RowsUsed | None, str]:
    """(the rows that a checkpoint's steps saw, why they are not known): only papers that are the manifest's are read."""
    if stage == BASE:
        return None, ""
    try:
        passport = parse_passport(found.paper(store, manifest, PASSPORT), PASSPORT)
        if passport.format < 2:
            return None, f"its passport, format {passport.format}, does not say which rows it saw"
        return parse_rows(found.paper(store, manifest, ROWS), ROWS), ""
    except IntegrityError as error:
        return None, error.problem
