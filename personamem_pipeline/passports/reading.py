"""Files that the operating system does not give: told with their path, as whatever else of the store is not whole.

A disk that fails, a directory in a file's place or a name that is too long would else end a verification in a traceback,
whose exit code is that of a broken chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from personamem_pipeline.errors import IntegrityError


@contextmanager
def readable(where: Path | str) -> Iterator[None]:
    """`IntegrityError` for a local file that cannot be read; `where` is named where the system names no file.

    A store in a bucket that does not answer says nothing of what is in it: its `ConnectionError` goes on.
    """
    try:
        yield
    except ConnectionError:
        raise
    except OSError as error:
        raise IntegrityError(
            f"cannot be read: {error.strerror or error}",
            where=error.filename or where,
            remedy="look at the disk and at what lies there; the checkpoint may be whole elsewhere",
        ) from error
