"""Writing to a local disk so that readers see a whole thing or none, whatever kills the writer."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from personamem_pipeline.errors import UserError
from personamem_pipeline.store.manifest import ATTACHED, MANIFEST

WRITING = ".writing-"
"""How names begin under which something is being written. Readers pass them over; garbage collection takes old ones."""
TRASH = ".trash-"
"""How names begin under which something is being deleted."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
        scratch = Path(tempfile.mkdtemp(prefix=WRITING, dir=target.parent))
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


def write_json_atomically(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of either."""
    write_bytes_atomically(path, json.dumps(value, indent=1, sort_keys=True).encode())


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """The same for any content; missing parent directories are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=WRITING, dir=path.parent)
    try:
        with full_disk_told(path.parent), os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def discard(directory: Path, *, untouched_since: float = math.inf, heir: Path | None = None) -> bool:
    """Delete a directory so that nobody ever sees half of it: rename it, look once more, delete it.

    What was touched later than the decision allows for gets its name back, and the answer is False. What is not there
    any more is deleted. Its attachments, which nobody could make again, go to the directory that follows it: `heir`, or
    the one that somebody has put under the same name meanwhile.
    """
    if not directory.is_dir():
        return True
    trash = Path(tempfile.mkdtemp(prefix=TRASH, dir=directory.parent))
    renamed = directory.rename(trash / directory.name)
    found = weigh(renamed)
    if touched := found is not None and found[1] > untouched_since:
        try:
            renamed.rename(directory)
        except OSError:
            if not (directory / MANIFEST).exists():
                raise
            # Whoever touched it has put it again meanwhile.
    if heir or (directory / MANIFEST).exists():
        _hand_on(renamed / ATTACHED, (heir or directory) / ATTACHED)
    shutil.rmtree(trash)
    return not touched


def _hand_on(attached: Path, to: Path) -> None:
    """Copy attachments that are not in `to`; what has been attached there is newer."""
    for path in attached.rglob("*"):
        own = to / path.relative_to(attached)
        if path.is_file() and not path.name.startswith(WRITING) and not own.exists():
            write_bytes_atomically(own, path.read_bytes())


def weigh(path: Path) -> tuple[int, float] | None:
    """Bytes of everything under a path, and when the youngest of it was written; None if it vanished."""
    size, newest, seen = 0, 0.0, False
    for file in (path, *path.rglob("*")):
        try:
            found = file.lstat()
        except FileNotFoundError:  # somebody works there
            continue
        seen, newest = True, max(newest, found.st_mtime)
        size += 0 if stat.S_ISDIR(found.st_mode) else found.st_size
    return (size, newest) if seen else None
