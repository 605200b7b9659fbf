"""Which checkpoint a person means: a directory, how a version begins, or an asset's name for the newest of it.

The newest is the one that was finished last: as its makings say, or, without one, when it was put into the store. A
training that ends with a checkpoint that is there already adds a making, and so makes it the newest again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.lineage import GRAPH, materialize_command
from personamem_pipeline.passports.making import makings
from personamem_pipeline.passports.records import MAKINGS, PASSPORT, Making
from personamem_pipeline.passports.sources import CHECKPOINTS
from personamem_pipeline.store import ATTACHED, MANIFEST, Store
from personamem_pipeline.store.place import VERSION

STAGES = tuple(name for name, node in GRAPH.items() if node.kind == CHECKPOINTS)
HEX = frozenset("0123456789abcdef")
VERIFY = "run `personamem verify`, which names every broken paper"
LEAST = 4
"""Characters of a version by which it may be named."""


@dataclass(frozen=True)
class FoundCheckpoint:
    """A checkpoint, and what says which version it should be."""

    version: str | None
    """None: nothing but its own manifest says."""
    copy: Path | None = None
    """Its directory where it lies outside the store, as then do its attachments; None: it is in the store."""

    def directory(self, store: Store) -> Path:
        """Where it lies; `IntegrityError` where the store's copy cannot be had whole."""
        return self.copy or store.path(CHECKPOINTS, str(self.version))

    def attached(self, store: Store) -> dict[str, bytes]:
        """What lies beside it: name -> content."""
        if self.copy is None:
            return store.attachments(CHECKPOINTS, str(self.version))
        place = self.copy / ATTACHED
        files = sorted(path for path in place.rglob("*") if path.is_file())
        return {path.relative_to(place).as_posix(): path.read_bytes() for path in files}


def find_checkpoint(name: str, store: Store) -> FoundCheckpoint | None:
    """The checkpoint that `name` means; None where it can mean none, so that it may be the name of something else.

    A directory named by a whole version should have that version, wherever it was copied to. Raises `UserError` when
    several versions begin so, or when no checkpoint of an asset was made yet.
    """
    if name in STAGES:
        return FoundCheckpoint(newest(store, name))
    directory = Path(name)
    if "/" in name or (directory / MANIFEST).is_file():
        if not directory.is_dir():
            return None
        own = directory.resolve().name
        return FoundCheckpoint(own if VERSION.fullmatch(own) else None, copy=directory)
    if len(name) < LEAST or not HEX.issuperset(name):
        return None
    found = sorted(version for version in store.versions(CHECKPOINTS) if version.startswith(name))
    if len(found) > 1:
        raise UserError(
            f"{len(found)} checkpoints begin so",
            where=name,
            expected=" or ".join(found),
            remedy="give more of the version",
        )
    return FoundCheckpoint(found[0]) if found else None


def newest_making(attached: Mapping[str, bytes], version: str) -> Making | None:
    """The last making among a checkpoint's attachments, by its name; `IntegrityError` where that is none of `version`."""
    names = sorted(name for name in attached if name.startswith(f"{MAKINGS}/"))
    if not names:
        return None
    try:
        making = Making.model_validate_json(attached[names[-1]])
    except ValidationError as error:
        raise IntegrityError(f"not a making: {error.errors()[0]['msg']}", where=names[-1], remedy=VERIFY) from error
    if making.checkpoint != version:
        raise IntegrityError(f"it is about {making.checkpoint}", where=names[-1], expected=version, remedy=VERIFY)
    return making


def newest(store: Store, stage: str) -> str:
    """The version of the checkpoint of this stage that was finished last.

    `IntegrityError` where a manifest was edited: that checkpoint might be the one.
    """
    times = {
        version: finished(store, version) or put
        for version, put in store.stored(CHECKPOINTS).items()
        if _stage(store, version) == stage
    }
    if times:
        return max(times, key=lambda version: (times[version], version))
    raise UserError(
        f"no {stage} was made here yet",
        where=store.url,
        expected="the checkpoint of a finished training",
        remedy=f"run `make demo`, or `{materialize_command(stage)}`; or name a directory",
    )


def finished(store: Store, version: str) -> float | None:
    """When a checkpoint was made last, seconds since the epoch; None where no making says so."""
    try:
        moments = [datetime.fromisoformat(making.finished) for making in makings(store, version)]
    except (IntegrityError, ValueError):
        return None  # a broken one; `personamem verify` names it
    return max((moment.timestamp() for moment in moments), default=None)


def _stage(store: Store, version: str) -> str | None:
    """The stage that made a checkpoint: as its manifest says, or else its passport; None where neither does."""
    manifest = store.manifest(CHECKPOINTS, version)
    if "stage" in manifest.producer or not any(entry.path == PASSPORT for entry in manifest.files):
        return manifest.producer.get("stage")
    passport = json.loads(store.read(CHECKPOINTS, version, PASSPORT))
    return str(passport.get("stage"))
