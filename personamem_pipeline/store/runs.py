"""What stages leave in the store's scratch: a directory for each piece of work, named by what decides it.

`job.json` says what the work is, `result.json` that it is done and what came of it. Until then the rest is what the next
run goes on from.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.store.writing import weigh

JOB = "job.json"
RESULT = "result.json"
RESUMED_FROM = ("checkpoint-*", "teacher.json")
"""What only an unfinished training needs: its steps, and its teacher's replies (the next one asks the teacher of its
day)."""


@dataclass(frozen=True)
class Run:
    """Scratch of one stage."""

    directory: Path
    versions: frozenset[str]
    """What it made; of an unfinished one, what it would be made from. It is of use as long as one of them is alive."""
    bytes: int
    touched: float


def find_runs(scratch: Path) -> Iterator[Run]:
    """Scratch of every stage that says what it is about; journals and the like do not.

    Raises:
        IntegrityError: a file that should say so cannot be read.
    """
    for directory in sorted(scratch.glob("[!.]*")):
        versions = _versions(directory)
        if versions is not None and (found := weigh(directory)):
            yield Run(directory, versions, *found)


def _versions(directory: Path) -> frozenset[str] | None:
    for name in (RESULT, JOB):
        try:
            told = json.loads((directory / name).read_text())
            return frozenset([told["version"]] if name == RESULT else told["inputs"].values())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(
                f"it does not say what the work is: {error!r}",
                where=directory / name,
                remedy="delete the directory; a stage that is run again makes it anew",
            ) from error
    return None


def drop_steps(directory: Path) -> None:
    """Delete what a finished work does not need any more; its logs and result stay."""
    for pattern in RESUMED_FROM:
        for path in directory.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
