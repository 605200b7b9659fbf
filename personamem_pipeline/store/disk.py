"""Things in a local directory: `<root>/<kind>/<version>/<file>`. The default, and the mirror of a bucket."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.store.files import check_digest, missing_file, verify_files
from personamem_pipeline.store.manifest import ATTACHED, MANIFEST, Manifest, no_manifest, read_manifest, sha256_bytes
from personamem_pipeline.store.place import VERSION, Held, Leftover
from personamem_pipeline.store.writing import TRASH, WRITING, discard, scratch_directory, weigh, write_bytes_atomically


class Disk:
    """A directory of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = str(root)

    def local(self, kind: str, version: str) -> Path:
        return self.root / kind / version

    def has(self, kind: str, version: str) -> bool:
        return (self.root / kind / version / MANIFEST).is_file()

    def stored(self, kind: str) -> dict[str, float]:
        return {path.parent.name: path.stat().st_mtime for path in (self.root / kind).glob(f"[!.]*/{MANIFEST}")}

    def manifest(self, kind: str, version: str) -> Manifest:
        return read_manifest(self.root / kind / version, expected_version=version)

    def put(self, manifest: Manifest, source: Path) -> None:
        target = self.root / manifest.kind / manifest.version
        if _whole(target, manifest):
            return
        with scratch_directory(target) as scratch:
            for entry in manifest.files:
                destination = scratch / entry.path
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / entry.path, destination)
            (scratch / MANIFEST).write_text(manifest.text)
            if target.exists() and not _whole(target, manifest):  # damaged, and not by now stored by somebody else
                discard(target, heir=scratch)

    def verified(self, kind: str, version: str) -> Path:
        directory = self.root / kind / version
        verify_files(directory, self.manifest(kind, version))
        return directory

    def check(self, kind: str, version: str) -> None:
        self.verified(kind, version)

    def read(self, kind: str, version: str, name: str) -> bytes:
        path = self.root / kind / version / name
        entry = self.manifest(kind, version).entry(name, path)
        if not path.is_file():
            raise missing_file(path)
        content = path.read_bytes()
        check_digest(path, entry, sha256_bytes(content))
        return content

    def attach(self, kind: str, version: str, name: str, data: bytes) -> None:
        if not self.has(kind, version):
            raise no_manifest(self.root / kind / version)
        write_bytes_atomically(self.root / kind / version / ATTACHED / name, data)

    def attachments(self, kind: str, version: str) -> dict[str, bytes]:
        return attached_files(self.root / kind / version)

    def holdings(self) -> list[Held]:
        return [
            Held(path.parent.name, path.name, *found, whole=(path / MANIFEST).is_file())
            for path in sorted(self.root.glob("[!.]*/*"))
            if VERSION.fullmatch(path.name) and path.is_dir() and (found := weigh(path))
        ]

    def leftovers(self) -> list[Leftover]:
        attaching = self.root.glob(f"[!.]*/[!.]*/{ATTACHED}/**/{WRITING}*")
        return [
            Leftover(path.relative_to(self.root).as_posix(), *found)
            for path in sorted([*self.root.glob(".*"), *self.root.glob("[!.]*/.*"), *attaching])
            if path.name.startswith((WRITING, TRASH)) and (found := weigh(path))
        ]

    def remove(self, held: Held) -> bool:
        return discard(self.root / held.kind / held.version, untouched_since=held.touched)

    def sweep(self, leftover: Leftover) -> None:
        path = self.root / leftover.path
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def attached_files(directory: Path) -> dict[str, bytes]:
    """Name -> content of what is attached to the thing in `directory`, by name; not what somebody is just attaching."""
    place = directory / ATTACHED
    files = sorted(path for path in place.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in files}


def _whole(target: Path, manifest: Manifest) -> bool:
    """Whether the content stands there already, unchanged. It is then as young as if it had just been put: whoever puts
    it is about to name it somewhere, and garbage collection leaves young things alone."""
    try:
        os.utime(target / MANIFEST)
        verify_files(target, manifest)
        return read_manifest(target).version == manifest.version
    except (FileNotFoundError, IntegrityError):
        return False
