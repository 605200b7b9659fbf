"""Things in an S3 bucket (`remote`), read through copies on the local disk.

A thing that is read is fetched whole into the mirror, `<PERSONAMEM_HOME>/mirror/<bucket>-<digest of the address>`, and
hashed there; a copy that was damaged is fetched again. Versions name content, so copies never grow old.
"""

from __future__ import annotations

import fcntl
from pathlib import Path

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.seeds import digest
from personamem_pipeline.settings import load_settings
from personamem_pipeline.store.disk import Disk
from personamem_pipeline.store.manifest import Manifest, no_manifest
from personamem_pipeline.store.objects import Objects
from personamem_pipeline.store.place import Held, Leftover
from personamem_pipeline.store.remote import Remote
from personamem_pipeline.store.writing import WRITING, discard, scratch_directory


class Bucket:
    """A prefix of a bucket, and its mirror on the local disk."""

    def __init__(self, url: str) -> None:
        settings = load_settings()
        objects = Objects(url, settings.s3_endpoint)
        self._remote = Remote(objects)
        self.url = objects.url
        name = f"{objects.bucket}-{digest([self.url, settings.s3_endpoint])[:8]}"
        self._mirror = Disk(settings.home / "mirror" / name)
        self.root = self._mirror.root

    def local(self, kind: str, version: str) -> Path:
        if not self._mirror.has(kind, version) and self.has(kind, version):
            self._fetch(kind, version)
        return self._mirror.local(kind, version)

    def has(self, kind: str, version: str) -> bool:
        return self._remote.has(kind, version)

    def stored(self, kind: str) -> dict[str, float]:
        return self._remote.stored(kind)

    def manifest(self, kind: str, version: str) -> Manifest:
        if self._mirror.has(kind, version):
            try:
                return self._mirror.manifest(kind, version)
            except IntegrityError:
                pass  # a damaged copy; the bucket's own is asked
        return self._remote.manifest(kind, version)

    def put(self, manifest: Manifest, source: Path) -> None:
        self._mirror.put(manifest, source)
        kind, version = manifest.kind, manifest.version
        copy = self._mirror.local(kind, version)
        if self.has(kind, version):
            try:
                return self._remote.renew(manifest, copy)
            except IntegrityError:
                pass  # what is there was damaged, or is being deleted; here are the same bytes whole
        self._remote.send(manifest, copy)

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
        self._remote.check(kind, version)

    def read(self, kind: str, version: str, name: str) -> bytes:
        if self._mirror.has(kind, version):
            try:
                return self._mirror.read(kind, version, name)
            except IntegrityError:
                pass  # as above
        return self._remote.read(kind, version, name)

    def attach(self, kind: str, version: str, name: str, data: bytes) -> None:
        self._remote.attach(kind, version, name, data)

    def attachments(self, kind: str, version: str) -> dict[str, bytes]:
        return self._remote.attachments(kind, version)

    def holdings(self) -> list[Held]:
        return self._remote.holdings()

    def leftovers(self) -> list[Leftover]:
        """Of the mirror: what writers left, and copies of what the bucket no longer has."""
        here = {(held.kind, held.version) for held in self.holdings() if held.whole}
        copies = [held for held in self._mirror.holdings() if (held.kind, held.version) not in here]
        gone = [Leftover(f"{copy.kind}/{copy.version}", copy.bytes, copy.touched) for copy in copies]
        return [*self._mirror.leftovers(), *gone]

    def remove(self, held: Held) -> bool:
        if not self._remote.remove(held):
            return False
        discard(self._mirror.local(held.kind, held.version))
        return True

    def sweep(self, leftover: Leftover) -> None:
        self._mirror.sweep(leftover)

    def _fetch(self, kind: str, version: str) -> None:
        """Bring a thing into the mirror. Of several processes that want it (the ranks of a training) one fetches."""
        target = self._mirror.local(kind, version)
        target.parent.mkdir(parents=True, exist_ok=True)
        with (target.parent / f"{WRITING}lock-{version}").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._mirror.has(kind, version):
                return
            with scratch_directory(target) as scratch:
                self._remote.fetch(kind, version, scratch)
