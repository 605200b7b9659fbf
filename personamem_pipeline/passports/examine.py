"""Looking at one stored thing: is it there, is its manifest the one that its version names, are its files the manifest's.

Every file is hashed. A thing is believed only as far as it was recomputed: parents are taken from a manifest whose digest
is right, a passport is read only when its bytes are the manifest's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.lineage import GRAPH
from personamem_pipeline.passports.chain import SHORT, Thing, walk
from personamem_pipeline.passports.links import Link, changed_file, gone, other_manifest, stray_file, unread_file
from personamem_pipeline.passports.reading import readable
from personamem_pipeline.store import MANIFEST, Manifest, file_problems, read_manifest, sha256_file

DATASET = "training_dataset"
"""The asset on whose rows checkpoints are trained."""
SHOWN = 5
"""Broken files of one thing that get a link each; more are counted in one."""


@dataclass
class Look:
    """What was found at one stored thing."""

    thing: Thing
    directory: Path
    links: list[Link] = field(default_factory=list)
    manifest: Manifest | None = None
    """None when there is none whose digest is the version."""
    broken_files: frozenset[str] = frozenset()

    @property
    def listed(self) -> Mapping[str, str]:
        """SHA-256 of each file that the manifest lists."""
        return {entry.path: entry.sha256 for entry in self.manifest.files} if self.manifest else {}

    @property
    def parents(self) -> Mapping[str, str]:
        return self.manifest.parents if self.manifest else {}

    def whole(self, *paths: str) -> bool:
        """Whether the manifest can be believed and these files are there and are the ones it lists."""
        listed = self.listed
        return self.manifest is not None and all(path in listed and path not in self.broken_files for path in paths)


Looks = Mapping[tuple[str, str], Look]
"""(asset, version) -> what was found there."""


def above(start: Thing, looks: Looks) -> list[tuple[str, str]]:
    """What a thing was made from, itself first, as far as it was looked at and believed."""
    found: list[tuple[str, str]] = []

    def visit(thing: Thing) -> Mapping[str, str]:
        look = looks.get((thing.name, thing.version))
        if look is None:
            return {}
        found.append((thing.name, thing.version))
        return look.parents

    walk({start.name: start.version}, visit)
    return found


def examine(thing: Thing, directory: Path) -> Look:
    """Recompute the digests of one stored thing; what is wrong is a broken link, never an error."""
    look = Look(thing, directory)
    try:
        with readable(directory):
            if not directory.is_dir():
                found = f"{directory} is not there"
                look.links.append(Link(thing.label, "is in the store", "BROKEN", found, gone(thing.child)))
                return look
            manifest = read_manifest(directory)
    except IntegrityError as error:
        found = f"{error.where}: {error.problem}"
        look.links.append(Link(thing.label, "has its manifest", "BROKEN", found, gone(thing.child)))
        return look
    unread = False
    try:
        broken = list(broken_files(directory, manifest))
    except OSError as error:  # which of the files it was, not every error says
        unread, broken = True, list(_unread_files(directory, manifest, error))
    if manifest.version != thing.version:
        named = f"and {thing.child} names" if thing.child else "not"
        found = f"its digest is {manifest.version}, {named} {thing.version}"
        means = other_manifest(thing.child, whole=not broken)
        look.links.append(Link(thing.label, "is the version that is named", "BROKEN", found, means))
        return look
    look.manifest = manifest
    # Where one file cannot be read the others were not all hashed, and none is believed.
    look.broken_files = frozenset(look.listed) if unread else frozenset(path for path, _, _ in broken)
    what = "files are the manifest's"
    for path, problem, means in broken[:SHOWN]:
        means = means or changed_file(path, thing.child)
        look.links.append(Link(thing.label, what, "BROKEN", f"{path}: {problem}", means))
    if len(broken) > SHOWN:
        found = f"{len(broken) - SHOWN} more files are missing, changed or stray"
        look.links.append(Link(thing.label, what, "BROKEN", found, changed_file("", thing.child)))
    if not broken:
        size = sum(entry.bytes for entry in manifest.files)
        found = f"{len(manifest.files)} files, {size:,} bytes hashed"
        look.links.append(Link(thing.label, "manifest and files", "ok", found))
    look.links += _placed(thing, manifest)
    return look


def broken_files(directory: Path, manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    """(path, what is wrong, what it means where that is not the usual) of every file that is missing, changed or stray."""
    for problem in file_problems(directory, manifest):
        found = f"sha256 is {problem.found[:SHORT]}…, listed is {problem.listed[:SHORT]}…"
        told = {"missing": "is missing", "changed": found, "stray": "is in no manifest"}[problem.how]
        yield problem.path, told, stray_file() if problem.how == "stray" else ""
    if (directory / MANIFEST).read_bytes() != manifest.text.encode():
        # What a digest is taken over is read out of the file; a word of it that nobody reads may have been changed, too.
        yield MANIFEST, "is not written as the store writes it", changed_file(MANIFEST, "")


def _unread_files(directory: Path, manifest: Manifest, first: OSError) -> Iterator[tuple[str, str, str]]:
    """As `broken_files`, those that cannot be read; `first` is told where, asked again, each of them can be."""
    unread = 0
    for path in (MANIFEST, *(entry.path for entry in manifest.files)):
        try:
            sha256_file(directory / path)
        except FileNotFoundError:
            continue  # broken in another way, and told when the rest can be read
        except OSError as error:
            unread += 1
            yield path, f"cannot be read: {error.strerror}", unread_file()
    if not unread:
        yield str(first.filename or "."), f"could not be read: {first.strerror}", unread_file()


def _placed(thing: Thing, manifest: Manifest) -> Iterator[Link]:
    """Whether a thing is of the asset as which it is named, and names the parents that this asset has."""
    stage = manifest.producer.get("stage")
    if manifest.kind != thing.kind or stage not in (None, thing.name):
        found = f"it is of kind {manifest.kind}, made by {stage}"
        means = f"{thing.child or 'the checkpoint'} was made from another asset than its papers say"
        yield Link(thing.label, "is the asset that is named", "BROKEN", found, means)
    named = {key.partition("/")[0] for key in manifest.parents}
    if missing := [parent for parent in GRAPH[thing.name].parents if parent not in named]:
        means = "the chain ends here and cannot be followed to the seeds"
        yield Link(thing.label, "names its parents", "gap", f"it names no {' and no '.join(missing)}", means)
