"""Immutable, content-addressed datasets and directories on a local disk.

Two kinds of thing live here, both named by what is in them:

- a *dataset*: the rows of one record type in a Parquet file, the rejected ones beside them, plus `manifest.json`;
- a *directory* (a checkpoint, a report): any files plus `manifest.json`.

The version of either is the SHA-256 of its manifest, which lists every file with its own SHA-256, the parents'
versions and the producer. Everything is written under a scratch name and renamed when complete, so the existence of a
manifest means that the data are whole. There are no timestamps inside: the same rows give the same version.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from personamem_pipeline.arrow import stream_parquet, write_parquet
from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.records import Rejection
from personamem_pipeline.seeds import digest

RecordT = TypeVar("RecordT", bound=BaseModel)
SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
ROWS = "rows.parquet"
REJECTED = "rejected.parquet"
"""Rows that did not pass, with their reasons; in every dataset that an author wrote."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FileEntry(BaseModel):
    """One file of a dataset or directory. `rows` is None for files that are not Parquet shards."""

    model_config = ConfigDict(frozen=True)
    path: str
    sha256: str
    bytes: int
    rows: int | None = None


class Manifest(BaseModel):
    """What a stored thing consists of and comes from. Its digest is the thing's version."""

    model_config = ConfigDict(frozen=True)
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


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks of 1 MiB."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            state.update(block)
    return state.hexdigest()


@contextmanager
def full_disk_told(place: Path) -> Iterator[None]:
    """A full disk, quota or file size limit, met while writing to `place`, as an error that a person can act on."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise UserError(
            f"cannot be written: {os.strerror(error.errno)}",
            where=place,
            expected="room on the disk",
            remedy="free some space or set PERSONAMEM_HOME to another disk, and run again; nothing half-written is left",
        ) from error


@contextmanager
def scratch_directory(target: Path) -> Iterator[Path]:
    """A fresh directory beside `target` that becomes `target` if the block ends well, and vanishes otherwise.

    Files are flushed to disk before the rename, so that a kill or a full disk never leaves a target that looks whole.
    """
    with full_disk_told(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".writing-", dir=target.parent))
    try:
        with full_disk_told(target.parent):
            yield scratch
            for path in scratch.rglob("*"):
                if path.is_file():
                    with path.open("rb") as file:
                        os.fsync(file.fileno())
        try:
            scratch.rename(target)
        except OSError:
            if not (target / MANIFEST).exists():
                raise
            # Somebody else finished the same content first; theirs has the same digest.
            shutil.rmtree(scratch)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


class Store:
    """Put and get by version. `root` is a local directory."""

    def __init__(self, root: str | Path) -> None:
        if "://" in str(root):
            raise UserError(
                f"the store cannot be at {root}",
                expected="a local directory",
                remedy="set PERSONAMEM_HOME to a directory",
            )
        self.root = Path(root).absolute()

    def path(self, kind: str, version: str) -> Path:
        return self.root / kind / version

    def write_rows(
        self,
        kind: str,
        record: type[RecordT],
        rows: Iterable[RecordT],
        *,
        parents: Mapping[str, str],
        producer: Mapping[str, str],
        rejected: Sequence[Rejection] | None = None,
    ) -> Manifest:
        """Write `record` rows, and what was rejected on the way, and return the manifest. The same rows give the same
        version."""
        with tempfile.TemporaryDirectory(prefix=".rows-", dir=self._made(self.root)) as directory:
            with full_disk_told(self.root):
                write_parquet(Path(directory) / ROWS, record, rows)
                if rejected is not None:
                    write_parquet(Path(directory) / REJECTED, Rejection, rejected)
            return self.put_directory(kind, Path(directory), parents=parents, producer=producer)

    def put_directory(
        self, kind: str, source: Path, *, parents: Mapping[str, str], producer: Mapping[str, str]
    ) -> Manifest:
        """Copy the files under `source` into the store and return their manifest."""
        files = tuple(_entry(source, path) for path in sorted(source.rglob("*")) if path.is_file())
        if not files:
            raise UserError("nothing to store", where=source, expected="at least one file")
        manifest = Manifest(kind=kind, files=files, parents=dict(parents), producer=dict(producer))
        target = self.path(kind, manifest.version)
        if target.exists():
            try:
                self.verified(kind, manifest.version)
            except IntegrityError:
                shutil.rmtree(target)  # what stands there was damaged; here are the same bytes whole
            else:
                return manifest
        with scratch_directory(target) as scratch:
            for entry in files:
                destination = scratch / entry.path
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / entry.path, destination)
            (scratch / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n")
        return manifest

    def manifest(self, kind: str, version: str) -> Manifest:
        """Read a manifest and check that it is the one its version names."""
        return read_manifest(self.path(kind, version), expected_version=version)

    def verified(self, kind: str, version: str) -> Path:
        """The directory of a stored thing, after every file in it was hashed again and found unchanged."""
        directory = self.path(kind, version)
        verify_files(directory, self.manifest(kind, version))
        return directory

    def read_rows(self, kind: str, version: str, record: type[RecordT]) -> list[RecordT]:
        """All rows of a dataset, after its digests were recomputed."""
        return list(self.stream_rows(kind, version, record))

    def stream_rows(self, kind: str, version: str, record: type[RecordT]) -> Iterator[RecordT]:
        """The same rows, a few of them in memory at a time."""
        return stream_parquet(self.verified(kind, version) / ROWS, record)

    def read_rejected(self, kind: str, version: str) -> list[Rejection]:
        """What was rejected when a dataset was made; empty for one whose stage rejects nothing."""
        path = self.verified(kind, version) / REJECTED
        return list(stream_parquet(path, Rejection)) if path.is_file() else []

    @staticmethod
    def _made(path: Path) -> Path:
        path.mkdir(parents=True, exist_ok=True)
        return path


def _entry(source: Path, path: Path) -> FileEntry:
    rows = pq.read_metadata(path).num_rows if path.suffix == ".parquet" else None
    return FileEntry(
        path=path.relative_to(source).as_posix(), sha256=sha256_file(path), bytes=path.stat().st_size, rows=rows
    )


def read_manifest(directory: Path, *, expected_version: str | None = None) -> Manifest:
    """Read `manifest.json` of a directory; with `expected_version`, refuse one whose digest differs."""
    path = directory / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_text())
    except FileNotFoundError:
        raise IntegrityError(
            "there is no manifest, so the data are not whole", where=directory, remedy="materialize the asset again"
        ) from None
    except ValueError as error:
        raise IntegrityError(f"not a manifest: {error}", where=path, remedy="materialize the asset again") from error
    if expected_version is not None and manifest.version != expected_version:
        raise IntegrityError(
            f"the manifest's digest is {manifest.version}",
            where=path,
            expected=expected_version,
            remedy="somebody changed it; delete the directory and materialize the asset again",
        )
    return manifest


def verify_files(directory: Path, manifest: Manifest) -> None:
    """Raise `IntegrityError` for the first file that is missing or differs from the manifest."""
    for entry in manifest.files:
        path = directory / entry.path
        if not path.is_file():
            raise IntegrityError("file is missing", where=path, remedy="delete the directory and materialize again")
        found = sha256_file(path)
        if found != entry.sha256:
            raise IntegrityError(
                f"sha256 is {found}",
                where=path,
                expected=entry.sha256,
                remedy="the file was changed or cut off; delete the directory and materialize again",
            )


def write_json_atomically(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    try:
        with full_disk_told(path.parent), os.fdopen(handle, "w") as file:
            json.dump(value, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
