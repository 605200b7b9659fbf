"""What a stored thing says of itself: its manifest. Whether its files are what it says, `files` finds out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, field_validator

from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.seeds import digest

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
ROWS = "rows.parquet"
REJECTED = "rejected.parquet"
"""Rows that did not pass, with their reasons; in every dataset that an author wrote."""
ATTACHED = "attached"
"""Folder beside a thing's content with what was said about it later: not in the manifest, so not in the version."""


class FileEntry(BaseModel):
    """One file of a dataset or directory. `rows` is None for files that are not Parquet shards."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: str
    """Relative to the manifest, `folder/file`; a file is written where it says, so it stays below the directory."""
    sha256: str
    bytes: int
    rows: int | None = None

    @field_validator("path")
    @classmethod
    def _confined(cls, path: str) -> str:
        if any(part in ("", ".", "..") for part in path.split("/")):
            raise ValueError(f"{path!r} is no path below the manifest's directory")
        return path


class Manifest(BaseModel):
    """What a stored thing consists of and comes from. Its digest is the thing's version."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: int = SCHEMA_VERSION
    kind: str
    files: tuple[FileEntry, ...]
    parents: dict[str, str]
    """Name of each input -> its version."""
    producer: dict[str, str]
    """What made it: stage, code version, author model, config digest, seed."""

    @property
    def version(self) -> str:
        return digest(self.model_dump(mode="json"))

    @property
    def rows(self) -> int:
        return sum(entry.rows or 0 for entry in self.files if entry.path != REJECTED)

    def entry(self, path: str, where: Path | str) -> FileEntry:
        """What is said of one file; `where` is shown when it is not listed."""
        for entry in self.files:
            if entry.path == path:
                return entry
        raise IntegrityError("the manifest lists no such file", where=where, remedy="materialize the asset again")

    @property
    def text(self) -> str:
        """The content of `manifest.json`."""
        return self.model_dump_json(indent=1) + "\n"


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks of 1 MiB."""
    with path.open("rb") as file:
        return sha256_blocks(file.read)


def sha256_bytes(content: bytes) -> str:
    """Hex SHA-256 of what is in memory."""
    return hashlib.sha256(content).hexdigest()


def sha256_blocks(read: Callable[[int], bytes]) -> str:
    """Hex SHA-256 of what `read(size)` gives until it gives nothing."""
    state = hashlib.sha256()
    while block := read(1 << 20):
        state.update(block)
    return state.hexdigest()


def files_under(source: Path) -> tuple[FileEntry, ...]:
    """Entries for all files under `source`, hashed, by path. Refuses names that the store itself uses."""
    found = []
    for path in sorted(source.rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(source).as_posix()
        if name == MANIFEST or name.startswith(f"{ATTACHED}/"):
            raise UserError(
                f"{name} is a name of the store's own",
                where=source,
                expected=f"content without {MANIFEST} and {ATTACHED}/",
                remedy="leave it out: the store writes its manifest, and Store.attach attaches",
            )
        rows = pq.read_metadata(path).num_rows if path.suffix == ".parquet" else None
        found.append(FileEntry(path=name, sha256=sha256_file(path), bytes=path.stat().st_size, rows=rows))
    if not found:
        raise UserError("nothing to store", where=source, expected="at least one file")
    return tuple(found)


def read_manifest(directory: Path, *, expected_version: str | None = None) -> Manifest:
    """Read `manifest.json` of a directory; with `expected_version`, refuse one whose digest differs."""
    path = directory / MANIFEST
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise no_manifest(directory) from None
    return parse_manifest(content, where=path, expected_version=expected_version)


def no_manifest(where: Path | str) -> IntegrityError:
    """What a place without a manifest is told to be."""
    return IntegrityError(
        "there is no manifest, so the data are not whole", where=where, remedy="materialize the asset again"
    )


def parse_manifest(content: bytes, *, where: Path | str, expected_version: str | None = None) -> Manifest:
    """The manifest with this content; `IntegrityError` if it is none, or not the one of `expected_version`."""
    try:
        manifest = Manifest.model_validate_json(content)
    except ValueError as error:
        raise IntegrityError(f"not a manifest: {error}", where=where, remedy="materialize the asset again") from error
    if expected_version is not None and manifest.version != expected_version:
        raise IntegrityError(
            f"the manifest's digest is {manifest.version}",
            where=where,
            expected=expected_version,
            remedy="somebody changed it; delete the directory and materialize the asset again",
        )
    return manifest
