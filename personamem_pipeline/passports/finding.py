"""Which checkpoint a person means: a directory, an address, how a version begins, or an asset's name for the newest of it.

An address is what Dagster, MLflow and cards show, `<store>/checkpoints/<version>`: it is also understood where no such
directory is on this machine, because the store is in a bucket, or only its end was copied.

The newest is the one that was finished last: as its makings say, or, without one, when it was put into the store. A
training that ends with a checkpoint that is there already adds a making, and so makes it the newest again; so does a run
that trains nothing because an earlier one did: it is what was asked for last, and what Dagster shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.lineage import CHECKPOINTS, GRAPH, PASSPORT, materialize_command
from personamem_pipeline.passports.making import makings
from personamem_pipeline.passports.reading import readable
from personamem_pipeline.passports.records import parse_passport
from personamem_pipeline.seeds import digest
from personamem_pipeline.settings import load_settings
from personamem_pipeline.store import MANIFEST, Manifest, Store, attached_files
from personamem_pipeline.store.place import VERSION

STAGES = tuple(name for name, node in GRAPH.items() if node.kind == CHECKPOINTS)
HEX = frozenset("0123456789abcdef")
ADDRESS = re.compile(rf"(?:(?P<store>.+)/)?{CHECKPOINTS}/(?P<version>{VERSION.pattern})/?")
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
        return attached_files(self.copy)

    def paper(self, store: Store, manifest: Manifest, name: str) -> bytes:
        """One of its small files, after its digest was compared with the manifest's, and without reading its weights."""
        if self.copy is None:
            return store.read(CHECKPOINTS, manifest.version, name)
        path, listed = self.copy / name, {entry.path: entry.sha256 for entry in manifest.files}
        content = path.read_bytes() if path.is_file() else b""
        if digest(content) != listed.get(name):
            raise IntegrityError(f"{name} is missing or was changed", where=path, remedy="copy the checkpoint again")
        return content


def on_disk(store: Store) -> bool:
    """Whether a store's local directory is the store, and no mirror of what was read from a bucket."""
    return store.url == str(store.root)


def store_of(asked: str | None, name: str) -> Store:
    """The store that was asked for, else the one that a checkpoint's address names, else this installation's."""
    if asked and "://" not in asked and not Path(asked).is_dir():
        raise UserError("no such directory", where=asked, expected="a store: checkpoints/, training_dataset/, ...")
    return Store(asked or _named_store(name) or load_settings().store)


def _named_store(name: str) -> str | None:
    """The store in an address. A directory is taken for one only where data lie beside its checkpoints."""
    if "://" in name:
        address = ADDRESS.fullmatch(name)
        return address["store"] if address else None
    folder = Path(name).resolve().parent
    kinds = {node.kind for node in GRAPH.values()} - {CHECKPOINTS}
    if "/" in name and folder.name == CHECKPOINTS and any((folder.parent / kind).is_dir() for kind in kinds):
        return str(folder.parent)
    return None


def find_checkpoint(name: str, store: Store) -> FoundCheckpoint | None:
    """The checkpoint that `name` means; None where it can mean none, so that it may be the name of something else.

    A directory named by a whole version should have that version, wherever it was copied to. Raises `UserError` when
    several versions begin so, or when no checkpoint of an asset was made yet.
    """
    if name in STAGES:
        return FoundCheckpoint(newest(store, name))
    directory, address = Path(name), ADDRESS.fullmatch(name)
    if directory.is_dir() and ("/" in name or (directory / MANIFEST).is_file()):
        place = directory.resolve()
        version = place.name if VERSION.fullmatch(place.name) else None
        own = on_disk(store) and place.parent == (store.root / CHECKPOINTS).resolve()
        return FoundCheckpoint(version, copy=None if version and own else directory)
    if address:
        return FoundCheckpoint(address["version"]) if store.has(CHECKPOINTS, address["version"]) else None
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


def newest(store: Store, stage: str) -> str:
    """The version of the checkpoint of this stage that was finished last.

    `IntegrityError` where a manifest was edited or cannot be read: that checkpoint might be the one.
    """
    with readable(f"{store.url}/{CHECKPOINTS}"):
        times = {
            version: finished(store, version) or put
            for version, put in store.stored(CHECKPOINTS).items()
            if stage_of(store, FoundCheckpoint(version), store.manifest(CHECKPOINTS, version)) == stage
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


def stage_of(store: Store, found: FoundCheckpoint, manifest: Manifest) -> str | None:
    """The stage that made a checkpoint: as its manifest says, or else its passport; None where neither does.

    `IntegrityError` where the passport has to be asked and is damaged.
    """
    if "stage" in manifest.producer or not any(entry.path == PASSPORT for entry in manifest.files):
        return manifest.producer.get("stage")
    return parse_passport(found.paper(store, manifest, PASSPORT), found.copy or manifest.version).stage
