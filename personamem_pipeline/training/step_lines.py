"""Files of JSON lines that a training stage appends to while it runs, each line with the optimizer step it belongs to.

A killed run leaves lines of steps that the resumed run repeats, and perhaps half a line at the end. Lines are in step order,
so going on means cutting the file once, at the first line that is not wanted; after that it only grows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from personamem_pipeline.errors import UserError

Row = dict[str, Any]


def read_lines(path: Path) -> Iterator[tuple[int, Row]]:
    """(bytes up to and with the line, row) of every whole line; nothing where there is no file.

    Half a line at the end is left out. Raises `UserError` for a whole line that is no JSON object with a step: that is no
    file of ours.
    """
    if not path.exists():
        return
    end = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            end += len(line)
            yield end, _row(path, number, line)


def cut(path: Path, keep: Callable[[Row], bool]) -> None:
    """Drop everything from the first line that `keep` refuses, and half a line at the end."""
    if not path.exists():
        return
    whole = 0
    for end, row in read_lines(path):
        if not keep(row):
            break
        whole = end
    with path.open("r+b") as file:
        file.truncate(whole)


def append(path: Path, rows: Iterable[Row]) -> None:
    """Add rows at the end. ASCII, so that no character of a row can be taken for the end of a line."""
    text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    with path.open("ab") as file:
        file.write(text.encode("ascii"))


def _row(path: Path, number: int, line: bytes) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise _broken(path, number, f"is not JSON: {error}") from error
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        raise _broken(path, number, "is no object with a step")
    return row


def _broken(path: Path, number: int, problem: str) -> UserError:
    remedy = "move the file away and start again; only the log of the steps so far is lost"
    return UserError(f"line {number} {problem}", where=path, remedy=remedy)
