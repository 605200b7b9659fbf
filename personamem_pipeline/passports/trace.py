"""Which rows touched a checkpoint, and which checkpoints saw a row or a person: `personamem lineage`.

A person who withdraws must be taken out of every checkpoint that learned from them. A checkpoint did if one of its own
steps saw a row of theirs, or if it grew from a checkpoint that did. Where a checkpoint does not say which rows it saw or
what it grew from, or what it says cannot be believed, everybody of its dataset counts as seen: nothing is told to be safe
that is not known.
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
from personamem_pipeline.passports.finding import STAGES, FoundCheckpoint, stage_of
from personamem_pipeline.passports.reading import readable
from personamem_pipeline.passports.records import ROWS, Data, RowsUsed, parse_passport
from personamem_pipeline.passports.seen_rows import dataset_rows
from personamem_pipeline.passports.sources import BASE, trained_source
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
    def certain(self) -> bool:
        """Whether it is known."""
        return self.how != "cannot be told"

    @property
    def retrain(self) -> bool:
        """Whether the checkpoint has learned from it, or may have."""
        return self.how != "by no step"


@dataclass(frozen=True)
class Touched:
    """The rows that one checkpoint of a chain saw, and who wrote those of its dataset."""

    checkpoint: str
    stage: str
    used: RowsUsed | None = None
    data: Data | None = None
    problem: str = ""
    """Why it is not known, where it is not; empty for a base model that comes from elsewhere: it saw none of our rows."""


def rows_of(store: Store, found: FoundCheckpoint) -> list[Touched]:
    """What touched a checkpoint: the rows of its own steps, then those of the checkpoints that it grew from. A base model
    below them is among these only where it is not known to have seen none."""
    touched: list[Touched] = []
    with readable(store.url):
        root = read_manifest(found.directory(store), expected_version=found.version)
        stage = stage_of(store, found, root)

    def visit(thing: Thing) -> Mapping[str, str]:
        own = thing.version == root.version
        try:
            with readable(store.address(CHECKPOINTS, thing.version)):
                manifest = root if own else store.manifest(CHECKPOINTS, thing.version)
        except IntegrityError as error:
            touched.append(Touched(thing.version, thing.name, problem=error.problem))
            return {}
        told = _papers(store, found if own else FoundCheckpoint(thing.version), manifest, thing.name)
        if own or thing.name != BASE or told.problem:
            touched.append(told)
        return {name: version for name, version in manifest.parents.items() if name in STAGES}

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
        with readable(store.address(DATASET, dataset)):
            return dataset_rows(store.verified(DATASET, dataset))

    @cache
    def sight(version: str) -> Sight | None:
        try:
            with readable(store.address(CHECKPOINTS, version)):
                manifest = store.manifest(CHECKPOINTS, version)
                stage = stage_of(store, FoundCheckpoint(version), manifest) or "checkpoint"
        except IntegrityError as error:
            return Sight(version, "checkpoint", "cannot be told", why=error.problem)
        own = _own_sight(version, stage, manifest)
        if own and own.retrain:
            return own
        above = [
            (parent, seen)
            for parent, grown_from in sorted(manifest.parents.items())
            if parent in STAGES and (seen := sight(grown_from)) and seen.retrain
        ]
        if not above:
            return own
        parent, seen = min(above, key=lambda each: not each[1].certain)
        how: How = "through a parent" if seen.certain else "cannot be told"
        return Sight(version, stage, how, why=f"{parent} {seen.checkpoint[:SHORT]}, {seen.how}")

    def _own_sight(version: str, stage: str, manifest: Manifest) -> Sight | None:
        told = _papers(store, FoundCheckpoint(version), manifest, stage)
        if stage == BASE:
            return Sight(version, stage, "cannot be told", why=told.problem) if told.problem else None
        parents = GRAPH[stage].parents if stage in STAGES else (DATASET,)
        if silent := [parent for parent in parents if parent not in manifest.parents]:
            why = f"it does not say which {' and which '.join(silent)} it was made from"
            return Sight(version, stage, "cannot be told", why=why)
        used = told.used
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
            return Sight(version, stage, "cannot be told", why=told.problem)
        steps = steps_of(used, wanted)
        return Sight(version, stage, "directly" if steps else "by no step", steps)

    return [found for version in store.versions(CHECKPOINTS) if (found := sight(version))]


def _papers(store: Store, found: FoundCheckpoint, manifest: Manifest, stage: str) -> Touched:
    """What a checkpoint's own papers say of the rows that its steps saw: only papers that are the manifest's are read."""
    used, data, problem = None, None, ""
    try:
        with readable(found.copy or store.address(CHECKPOINTS, manifest.version)):
            passport = parse_passport(found.paper(store, manifest, PASSPORT), PASSPORT)
            data = passport.data
            if passport.stage != stage:
                problem = f"its manifest says that {stage} made it, its passport, {passport.stage}"
            elif source := trained_source(passport):
                problem = f"it was copied from a {source} of this project, and what that saw is not stated"
            elif stage != BASE and passport.format < 2:
                problem = f"its passport, format {passport.format}, does not say which rows it saw"
            elif stage != BASE:
                used = parse_rows(found.paper(store, manifest, ROWS), ROWS)
    except IntegrityError as error:
        problem = error.problem
    return Touched(manifest.version, stage, used, data, problem)
