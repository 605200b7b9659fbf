"""Whether a thing's files are its manifest's: each is there, is unchanged, and there is no other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.store.manifest import ATTACHED, MANIFEST, FileEntry, Manifest, sha256_file


@dataclass(frozen=True)
class FileProblem:
    """One file that is not as the manifest has it."""

    path: str
    """Relative to the manifest."""
    how: Literal["missing", "changed", "stray"]
    """Stray: it is there and not listed."""
    listed: str = ""
    """SHA-256 that a changed one should have."""
    found: str = ""
    """SHA-256 that it has."""

    def error(self, directory: Path | str) -> IntegrityError:
        """The same as an error, about a file of `directory`."""
        where = f"{directory}/{self.path}"
        if self.how == "missing":
            return missing_file(where)
        return strange_file(where) if self.how == "stray" else _changed_file(where, self.listed, self.found)


def file_problems(directory: Path, manifest: Manifest) -> Iterator[FileProblem]:
    """Hash every listed file, then look for others; what is attached is no content. Lazy: the first costs no more than
    the files before it."""
    for entry in manifest.files:
        path = directory / entry.path
        if not path.is_file():
            yield FileProblem(entry.path, "missing")
        elif (found := sha256_file(path)) != entry.sha256:
            yield FileProblem(entry.path, "changed", entry.sha256, found)
    # A link to a directory is no directory of ours: what is behind it was never stored.
    there = (path for path in directory.rglob("*") if path.is_symlink() or not path.is_dir())
    for name in strangers(manifest, (path.relative_to(directory).as_posix() for path in there)):
        yield FileProblem(name, "stray")


def verify_files(directory: Path, manifest: Manifest) -> None:
    """Raise `IntegrityError` for the first file that is missing, differs from the manifest or is not in it."""
    for problem in file_problems(directory, manifest):
        raise problem.error(directory)


def strangers(manifest: Manifest, names: Iterable[str]) -> list[str]:
    """Those names beside a manifest that are neither listed nor attached."""
    known = {entry.path for entry in manifest.files} | {MANIFEST}
    return sorted(name for name in names if name not in known and not name.startswith(f"{ATTACHED}/"))


def check_digest(where: Path | str, entry: FileEntry, found: str) -> None:
    """Raise `IntegrityError` unless a file's digest is the manifest's."""
    if found != entry.sha256:
        raise _changed_file(where, entry.sha256, found)


def missing_file(where: Path | str) -> IntegrityError:
    """What a file that is listed and not there is told to be."""
    return IntegrityError("file is missing", where=where, remedy="delete the directory and materialize again")


def strange_file(where: Path | str) -> IntegrityError:
    """What a file that nobody stored is told to be."""
    return IntegrityError(
        "the manifest does not list this file",
        where=where,
        expected=f"the listed files, {MANIFEST} and {ATTACHED}/",
        remedy="somebody put it there: delete it, or the directory and materialize again",
    )


def _changed_file(where: Path | str, listed: str, found: str) -> IntegrityError:
    return IntegrityError(
        f"sha256 is {found}",
        where=where,
        expected=listed,
        remedy="the file was changed or cut off; delete the directory and materialize again",
    )
