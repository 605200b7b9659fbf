"""What a place that keeps things can do: a local directory (`disk`) or a bucket (`s3`). `Store` is the face of both."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from personamem_pipeline.store.manifest import Manifest

VERSION = re.compile(r"[0-9a-f]{64}")
"""What a version looks like."""


@dataclass(frozen=True)
class Held:
    """A directory named by a version, as garbage collection finds it."""

    kind: str
    version: str
    bytes: int
    touched: float
    """When the youngest of its files was written, in seconds since the epoch."""
    whole: bool
    """There is a manifest; else somebody is writing it, or was killed while writing or deleting it."""


@dataclass(frozen=True)
class Leftover:
    """What a writer or a garbage collection works in, or left when it was killed."""

    path: str
    """Relative to the store's local directory."""
    bytes: int
    touched: float


class Place(Protocol):
    """Keeps whole things by kind and version. Nothing half-written is ever seen through it."""

    root: Path
    """A local directory: the things themselves, or copies of those that were read."""
    url: str

    def local(self, kind: str, version: str) -> Path:
        """A local directory with the thing; one that does not exist where there is no such thing."""

    def has(self, kind: str, version: str) -> bool:
        """Whether the place itself, not only a copy, has it."""

    def stored(self, kind: str) -> dict[str, float]:
        """Version -> seconds since the epoch of the last put."""

    def manifest(self, kind: str, version: str) -> Manifest:
        """The manifest, whose digest is the version; else `IntegrityError`."""

    def put(self, manifest: Manifest, source: Path) -> None:
        """Keep the files under `source` that the manifest lists."""

    def verified(self, kind: str, version: str) -> Path:
        """A local directory, each file of which was hashed now."""

    def check(self, kind: str, version: str) -> None:
        """Hash each file where it is kept; `IntegrityError` for the first that is wrong."""

    def read(self, kind: str, version: str, name: str) -> bytes:
        """One file, after its digest was compared."""

    def attach(self, kind: str, version: str, name: str, data: bytes) -> None:
        """Put a file beside a thing that is there; else `IntegrityError`."""

    def attachments(self, kind: str, version: str) -> dict[str, bytes]:
        """Name -> content of what is attached."""

    def holdings(self) -> list[Held]:
        """Everything that is named by a version."""

    def leftovers(self) -> list[Leftover]:
        """Everything that is named as scratch of a writer."""

    def remove(self, held: Held) -> bool:
        """Delete it, unless it became younger than `held` says; False then. Once begun, nobody sees it any more.

        Raises:
            IntegrityError: somebody put it again meanwhile, and it is not whole now.
        """

    def sweep(self, leftover: Leftover) -> None:
        """Delete it."""
