"""`Store`: put and get by version."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pydantic import BaseModel

from personamem_pipeline.arrow import stream_parquet, write_parquet
from personamem_pipeline.errors import UserError
from personamem_pipeline.records import Rejection
from personamem_pipeline.store.disk import Disk
from personamem_pipeline.store.manifest import REJECTED, ROWS, Manifest, files_under
from personamem_pipeline.store.objects import SCHEME
from personamem_pipeline.store.place import Place
from personamem_pipeline.store.s3 import Bucket
from personamem_pipeline.store.writing import WRITING, full_disk_told

RecordT = TypeVar("RecordT", bound=BaseModel)


class Store:
    """Put and get by version, in a directory or in a bucket (`s3://bucket/prefix`).

    `url` is what the store was opened with and what a job is told; `root` is the local directory: of a store in a bucket
    the mirror, which holds copies of what was read. Whoever wants to know what is stored asks the store, not `root`.
    """

    def __init__(self, root: str | Path) -> None:
        """Opens nothing yet: a bucket that is not there is refused at the first use."""
        self.place = _place(str(root))
        self.root, self.url = self.place.root, self.place.url

    @property
    def scratch(self) -> Path:
        """Where stages keep what they resume from, and journals: always a local directory."""
        return self.root / "scratch"

    def address(self, kind: str, version: str) -> str:
        """Where a thing is kept, for people and records; nothing is fetched."""
        return f"{self.url}/{kind}/{version}"

    def path(self, kind: str, version: str) -> Path:
        """The local directory of a thing, fetched if need be. It does not exist where the store has no such thing."""
        return self.place.local(kind, version)

    def has(self, kind: str, version: str) -> bool:
        """Whether the store has this version; its files are neither fetched nor looked at."""
        return self.place.has(kind, version)

    def stored(self, kind: str) -> dict[str, float]:
        """Every version of a kind -> when it was put last (seconds since the epoch), oldest first."""
        return dict(sorted(self.place.stored(kind).items(), key=lambda item: (item[1], item[0])))

    def versions(self, kind: str) -> list[str]:
        """Every version of a kind, the one that was put last at the end."""
        return list(self.stored(kind))

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """An empty local directory on the store's own disk, to make something in before it is put; it vanishes."""
        with full_disk_told(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=WRITING, dir=self.root) as directory:
            yield Path(directory)

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
        with self.staging() as directory:
            with full_disk_told(self.root):
                write_parquet(directory / ROWS, record, rows)
                if rejected is not None:
                    write_parquet(directory / REJECTED, Rejection, rejected)
            return self.put_directory(kind, directory, parents=parents, producer=producer)

    def put_directory(
        self, kind: str, source: Path, *, parents: Mapping[str, str], producer: Mapping[str, str]
    ) -> Manifest:
        """Copy the files under `source` into the store and return their manifest. What is there already is verified, and
        repaired if it was damaged; its attachments stay. Several writers of one version all succeed."""
        manifest = Manifest(kind=kind, files=files_under(source), parents=dict(parents), producer=dict(producer))
        self.place.put(manifest, source)
        return manifest

    def manifest(self, kind: str, version: str) -> Manifest:
        """Read a manifest and check that it is the one its version names."""
        return self.place.manifest(kind, version)

    def verified(self, kind: str, version: str) -> Path:
        """The local directory of a stored thing, after every file in it was hashed again and found unchanged."""
        return self.place.verified(kind, version)

    def check(self, kind: str, version: str) -> Manifest:
        """Hash every file where it is kept (of a bucket: there, not the copy) and return the manifest.

        Raises:
            IntegrityError: a file is missing, changed or not in the manifest.
        """
        self.place.check(kind, version)
        return self.manifest(kind, version)

    def read(self, kind: str, version: str, name: str) -> bytes:
        """One file of a thing after its digest was compared; of a bucket, without fetching the others."""
        return self.place.read(kind, version, name)

    def attach(self, kind: str, version: str, name: str, data: bytes) -> None:
        """Keep `data` beside a version under `name` (`folder/file.json`), in place of what had that name.

        No part of the version: for what is said about a thing after it was made. Several writers may attach at once.
        """
        parts = PurePosixPath(name).parts
        if not parts or any(part.startswith((".", "/")) for part in parts) or name != "/".join(parts):
            raise UserError(f"nothing can be attached as {name!r}", expected="a name such as makings/a.json")
        self.place.attach(kind, version, name, data)

    def attachments(self, kind: str, version: str) -> dict[str, bytes]:
        """Everything attached to a version: name -> content, by name."""
        return dict(sorted(self.place.attachments(kind, version).items()))

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


def _place(root: str) -> Place:
    if root.startswith(SCHEME):
        return Bucket(root)
    if "://" in root:
        raise UserError(
            f"the store cannot be at {root}",
            expected="a local directory, or s3://bucket/prefix",
            remedy="set PERSONAMEM_STORE to one of them, or leave it unset",
        )
    return Disk(Path(root).absolute())
