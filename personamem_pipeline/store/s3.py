"""Things in an S3 bucket: `s3://bucket/prefix/<kind>/<version>/<file>`, read through copies on the local disk.

There is no rename in S3, so the manifest is written last and deleted first: without it the objects beside it are nothing.
A thing that is read is fetched whole into the mirror, `<PERSONAMEM_HOME>/mirror/<bucket>-<digest of the address>`, and
hashed there; a copy that was damaged is fetched again. Versions name content, so copies never grow old.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.seeds import digest
from personamem_pipeline.settings import load_settings
from personamem_pipeline.store.disk import Disk
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
from personamem_pipeline.store.place import VERSION, Held, Leftover
from personamem_pipeline.store.writing import WRITING, discard, scratch_directory

AT_ONCE = 8
"""Files that are fetched or sent at the same time."""


class Bucket:
    """A prefix of a bucket, and its mirror on the local disk."""

    def __init__(self, url: str) -> None:
        settings = load_settings()
        self._objects = Objects(url, settings.s3_endpoint)
        self.url = self._objects.url
        name = f"{self._objects.bucket}-{digest([self.url, settings.s3_endpoint])[:8]}"
        self._mirror = Disk(settings.home / "mirror" / name)
        self.root = self._mirror.root

    def local(self, kind: str, version: str) -> Path:
        if not self._mirror.has(kind, version) and self.has(kind, version):
            self._fetch(kind, version)
        return self._mirror.local(kind, version)

    def has(self, kind: str, version: str) -> bool:
        return self._objects.exists(f"{kind}/{version}/{MANIFEST}")

    def stored(self, kind: str) -> dict[str, float]:
        found = (found for found in self._objects.list(kind) if found.name.count("/") == 1)
        return {found.name.split("/")[0]: found.written for found in found if found.name.endswith(f"/{MANIFEST}")}

    def manifest(self, kind: str, version: str) -> Manifest:
        if self._mirror.has(kind, version):
            try:
                return self._mirror.manifest(kind, version)
            except IntegrityError:
                pass  # a damaged copy; the bucket's own is asked
        return self._own_manifest(kind, version)

    def put(self, manifest: Manifest, source: Path) -> None:
        self._mirror.put(manifest, source)
        kind, version = manifest.kind, manifest.version
        if self.has(kind, version):
            # As young as if it were new, before it is looked at: garbage collection leaves young things alone.
            self._objects.write(f"{kind}/{version}/{MANIFEST}", manifest.text.encode())
            try:
                return self.check(kind, version)
            except IntegrityError:
                pass  # what is there was damaged; here are the same bytes whole
        self._send(manifest, self._mirror.local(kind, version))

    def verified(self, kind: str, version: str) -> Path:
        self.local(kind, version)
        if not self._mirror.has(kind, version):
            raise no_manifest(f"{self.url}/{kind}/{version}")
        try:
            return self._mirror.verified(kind, version)
        except IntegrityError:
            if not self.has(kind, version):
                raise
            discard(self._mirror.local(kind, version))
            self._fetch(kind, version)
        return self._mirror.verified(kind, version)

    def check(self, kind: str, version: str) -> None:
        manifest = self._own_manifest(kind, version)
        _each(lambda entry: self._compare(f"{kind}/{version}", entry), manifest.files)
        for name in self._strangers(manifest):
            raise strange_file(f"{self.url}/{kind}/{version}/{name}")

    def read(self, kind: str, version: str, name: str) -> bytes:
        if self._mirror.has(kind, version):
            try:
                return self._mirror.read(kind, version, name)
            except IntegrityError:
                pass  # as above
        where = f"{self.url}/{kind}/{version}/{name}"
        entry = self._own_manifest(kind, version).entry(name, where)
        try:
            content = self._objects.read(f"{kind}/{version}/{name}")
        except FileNotFoundError:
            raise missing_file(where) from None
        check_digest(where, entry, sha256_bytes(content))
        return content

    def attach(self, kind: str, version: str, name: str, data: bytes) -> None:
        if not self.has(kind, version):
            raise no_manifest(f"{self.url}/{kind}/{version}")
        self._objects.write(f"{kind}/{version}/{ATTACHED}/{name}", data)

    def attachments(self, kind: str, version: str) -> dict[str, bytes]:
        place = f"{kind}/{version}/{ATTACHED}"
        return {found.name: self._objects.read(f"{place}/{found.name}") for found in self._objects.list(place)}

    def holdings(self) -> list[Held]:
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

    def leftovers(self) -> list[Leftover]:
        """Of the mirror: what writers left, and copies of what the bucket no longer has."""
        here = {(held.kind, held.version) for held in self.holdings() if held.whole}
        copies = [held for held in self._mirror.holdings() if (held.kind, held.version) not in here]
        gone = [Leftover(f"{copy.kind}/{copy.version}", copy.bytes, copy.touched) for copy in copies]
        return [*self._mirror.leftovers(), *gone]

    def remove(self, held: Held) -> bool:
        at = f"{held.kind}/{held.version}"
        if self._touched(held):
            return False
        if held.whole:
            manifest = self._objects.read(f"{at}/{MANIFEST}")
            self._objects.delete(f"{at}/{MANIFEST}")
            if self._touched(
                held
            ):  # a writer saw the manifest, or sends the same anew: the objects are still all there
                self._objects.write(f"{at}/{MANIFEST}", manifest)
                return False
        self._objects.delete_all(at)
        discard(self._mirror.local(held.kind, held.version))
        return True

    def sweep(self, leftover: Leftover) -> None:
        self._mirror.sweep(leftover)

    def _touched(self, held: Held) -> bool:
        """Whether anything of it was written since it was found."""
        return any(found.written > held.touched for found in self._objects.list(f"{held.kind}/{held.version}"))

    def _fetch(self, kind: str, version: str) -> None:
        """Bring a thing into the mirror. Of several processes that want it (the ranks of a training) one fetches."""
        target = self._mirror.local(kind, version)
        target.parent.mkdir(parents=True, exist_ok=True)
        with (target.parent / f"{WRITING}lock-{version}").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._mirror.has(kind, version):
                return
            manifest = self._own_manifest(kind, version)
            with scratch_directory(target) as scratch:
                _each(lambda entry: self._compare(f"{kind}/{version}", entry, into=scratch), manifest.files)
                (scratch / MANIFEST).write_text(manifest.text)

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

    def _send(self, manifest: Manifest, source: Path) -> None:
        at = f"{manifest.kind}/{manifest.version}"
        _each(lambda entry: self._objects.upload(source / entry.path, f"{at}/{entry.path}"), manifest.files)
        for name in self._strangers(manifest):
            self._objects.delete(f"{at}/{name}")
        self._objects.write(f"{at}/{MANIFEST}", manifest.text.encode())
        # A garbage collection that had found old remains of this version may have deleted what was just sent.
        self.check(manifest.kind, manifest.version)

    def _strangers(self, manifest: Manifest) -> list[str]:
        """Objects beside a manifest that are neither listed nor attached."""
        return strangers(manifest, (found.name for found in self._objects.list(f"{manifest.kind}/{manifest.version}")))

    def _own_manifest(self, kind: str, version: str) -> Manifest:
        """The manifest as the bucket has it."""
        where = f"{self.url}/{kind}/{version}"
        try:
            content = self._objects.read(f"{kind}/{version}/{MANIFEST}")
        except FileNotFoundError:
            raise no_manifest(where) from None
        return parse_manifest(content, where=f"{where}/{MANIFEST}", expected_version=version)


def _each(do: Callable[[FileEntry], None], files: Iterable[FileEntry]) -> None:
    """`do` for several files at a time; the first error is raised when the files in work are done."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(do, files))
