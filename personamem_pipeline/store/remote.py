"""Things as a bucket has them, `s3://bucket/prefix/<kind>/<version>/<file>`, without any copy on this machine.

There is no rename in S3, so the manifest is written last and deleted first: without it the objects beside it are nothing.
A writer and a garbage collection that meet over one version cannot lock each other out; but one of them hears of it:

- A writer who finds the thing there writes one of its files anew (`renew`) and looks at it whole only then; a garbage
  collection that has deleted the manifest looks for younger files before it goes on, and gives the manifest back.
- A writer who comes later finds no manifest and sends everything. Of that, only what had been found before may be deleted:
  before the writer's check, which then fails; or after it, and then the garbage collection finds a manifest at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.store.files import check_digest, missing_file, strange_file, strangers
from personamem_pipeline.store.manifest import (
    ATTACHED,
    MANIFEST,
    FileEntry,
    Manifest,
    no_manifest,
    parse_manifest,
    sha256_bytes,
)
from personamem_pipeline.store.objects import Object, Objects
from personamem_pipeline.store.place import VERSION, Held

AT_ONCE = 8
"""Objects that are fetched, sent or deleted at the same time."""
OneT = TypeVar("OneT")


class Remote:
    """A prefix of a bucket. Errors of access and of the server are those of `Objects`."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.url = objects.url

    def has(self, kind: str, version: str) -> bool:
        return self._objects.exists(f"{kind}/{version}/{MANIFEST}")

    def stored(self, kind: str) -> dict[str, float]:
        """Version -> seconds since the epoch of the last put."""
        found = (found for found in self._objects.list(kind) if found.name.count("/") == 1)
        return {found.name.split("/")[0]: found.written for found in found if found.name.endswith(f"/{MANIFEST}")}

    def manifest(self, kind: str, version: str) -> Manifest:
        where = f"{self.url}/{kind}/{version}"
        try:
            content = self._objects.read(f"{kind}/{version}/{MANIFEST}")
        except FileNotFoundError:
            raise no_manifest(where) from None
        return parse_manifest(content, where=f"{where}/{MANIFEST}", expected_version=version)

    def read(self, kind: str, version: str, name: str) -> bytes:
        """One file, after its digest was compared."""
        where = f"{self.url}/{kind}/{version}/{name}"
        entry = self.manifest(kind, version).entry(name, where)
        try:
            content = self._objects.read(f"{kind}/{version}/{name}")
        except FileNotFoundError:
            raise missing_file(where) from None
        check_digest(where, entry, sha256_bytes(content))
        return content

    def check(self, kind: str, version: str) -> None:
        """Hash each object; `IntegrityError` for the first that is missing, changed or not in the manifest."""
        manifest = self.manifest(kind, version)
        _each(lambda entry: self._compare(f"{kind}/{version}", entry), manifest.files)
        for name in self._strangers(manifest):
            raise strange_file(f"{self.url}/{kind}/{version}/{name}")

    def fetch(self, kind: str, version: str, into: Path) -> None:
        """Copy a thing into an empty directory, the manifest last; `IntegrityError` if an object is not the manifest's."""
        manifest = self.manifest(kind, version)
        _each(lambda entry: self._compare(f"{kind}/{version}", entry, into=into), manifest.files)
        (into / MANIFEST).write_text(manifest.text)

    def send(self, manifest: Manifest, source: Path) -> None:
        """Write a thing, whatever remains of it may be there.

        Raises:
            IntegrityError: a garbage collection deleted some of it meanwhile.
        """
        at = f"{manifest.kind}/{manifest.version}"
        _each(lambda entry: self._objects.upload(source / entry.path, f"{at}/{entry.path}"), manifest.files)
        for name in self._strangers(manifest):
            self._objects.delete(f"{at}/{name}")
        self._objects.write(f"{at}/{MANIFEST}", manifest.text.encode())
        self.check(manifest.kind, manifest.version)

    def renew(self, manifest: Manifest, source: Path) -> None:
        """Make what is there as young as if it had just been sent.

        Raises:
            IntegrityError: it is not whole, or a garbage collection is deleting it.
        """
        at = f"{manifest.kind}/{manifest.version}"
        smallest = min(manifest.files, key=lambda entry: entry.bytes)
        self._objects.upload(source / smallest.path, f"{at}/{smallest.path}")
        self.check(manifest.kind, manifest.version)
        self._objects.write(f"{at}/{MANIFEST}", manifest.text.encode())  # its age is the order of putting

    def attach(self, kind: str, version: str, name: str, data: bytes) -> None:
        if not self.has(kind, version):
            raise no_manifest(f"{self.url}/{kind}/{version}")
        self._objects.write(f"{kind}/{version}/{ATTACHED}/{name}", data)

    def attachments(self, kind: str, version: str) -> dict[str, bytes]:
        place = f"{kind}/{version}/{ATTACHED}"
        return {found.name: self._objects.read(f"{place}/{found.name}") for found in self._objects.list(place)}

    def holdings(self) -> list[Held]:
        """Everything that is named by a version."""
        things: dict[tuple[str, str], list[Object]] = {}
        for found in self._objects.list():
            kind, version, *_ = [*found.name.split("/"), ""]
            if VERSION.fullmatch(version):
                things.setdefault((kind, version), []).append(found)
        return [
            Held(
                kind,
                version,
                sum(file.bytes for file in files),
                max(file.written for file in files),
                whole=any(file.name == f"{kind}/{version}/{MANIFEST}" for file in files),
            )
            for (kind, version), files in sorted(things.items())
        ]

    def remove(self, held: Held) -> bool:
        """Delete a thing, unless it became younger than `held` says; False then.

        Raises:
            IntegrityError: somebody put it again meanwhile, and it is not whole now.
        """
        at = f"{held.kind}/{held.version}"
        found = self._objects.list(at)
        if _younger(found, held):
            return False
        names = [one.name for one in found]
        if MANIFEST in names:
            names.remove(MANIFEST)
            manifest = self._objects.read(f"{at}/{MANIFEST}")
            self._objects.delete(f"{at}/{MANIFEST}")
            if _younger(self._objects.list(at), held):  # somebody renewed it, or sends it: no object is deleted yet
                self._objects.write(f"{at}/{MANIFEST}", manifest)
                return False
        _each(lambda name: self._objects.delete(f"{at}/{name}"), names)
        if not self.has(held.kind, held.version):
            return True
        try:
            self.check(held.kind, held.version)
        except IntegrityError as error:
            raise IntegrityError(
                f"somebody put it again while it was deleted, and now it is not whole: {error.where}: {error.problem}",
                where=f"{self.url}/{at}",
                remedy="materialize the asset again, unless its run was told of this, too",
            ) from error
        return False

    def _compare(self, at: str, entry: FileEntry, *, into: Path | None = None) -> None:
        """Hash one object, and keep it under `into` if that is given; `IntegrityError` if it is not the manifest's."""
        name = f"{at}/{entry.path}"
        try:
            if into is None:
                found = self._objects.download(name)
            else:
                path = into / entry.path
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    found = self._objects.download(name, file)
        except FileNotFoundError:
            raise missing_file(f"{self.url}/{name}") from None
        check_digest(f"{self.url}/{name}", entry, found)

    def _strangers(self, manifest: Manifest) -> list[str]:
        """Objects beside a manifest that are neither listed nor attached."""
        return strangers(manifest, (found.name for found in self._objects.list(f"{manifest.kind}/{manifest.version}")))


def _younger(found: Iterable[Object], held: Held) -> bool:
    return any(one.written > held.touched for one in found)


def _each(do: Callable[[OneT], None], ones: Iterable[OneT]) -> None:
    """`do` for several at a time; the first error is raised when those in work are done."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(do, ones))
