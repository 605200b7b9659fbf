"""CSV files that people open in spreadsheets: written so that nothing in them is computed, read however they come back.

Model output is not to be trusted by spreadsheets: a cell that begins like a formula is written behind an apostrophe
(https://owasp.org/www-community/attacks/CSV_Injection), which is taken away again on reading.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from personamem_pipeline.errors import UserError

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
_GUARDED = re.compile(r"'+[=+\-@\t\r\n]")
DELIMITERS = ",;\t"
"""Spreadsheets of some countries write semicolons."""


def write_sheet(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """The file as spreadsheets read it rightly: UTF-8 with a mark, every cell quoted, and guarded already."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerows([columns, *rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.getvalue().encode("utf-8-sig"))


def read_sheet(path: Path, columns: Sequence[str], remedy: str) -> Iterator[tuple[str, dict[str, str]]]:
    """(file and row, cells without their guard); empty rows are passed over, rows are numbered as spreadsheets do.

    Raises `UserError` for a file that is no CSV file in UTF-8, that lacks one of `columns`, or has a row that is too
    short.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"it cannot be read: {error}", where=path, expected="a CSV file in UTF-8") from error
    delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
    try:
        table = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise UserError(f"it is no CSV file: {error}", where=path, remedy=remedy) from error
    names = table[0] if table else []
    if missing := [name for name in columns if name not in names]:
        raise UserError(f"it has no column {missing[0]}", where=path, expected=", ".join(columns), remedy=remedy)
    for number, cells in enumerate(table[1:], start=2):
        if not any(cells):
            continue
        place = f"{path}, row {number}"
        if len(cells) < len(names):
            raise UserError(f"it has {len(cells)} cells of {len(names)}", where=place, remedy=remedy)
        yield place, {name: unguard(cell) for name, cell in zip(names, cells, strict=False)}


def guard(text: str) -> str:
    """A cell that no spreadsheet computes. `unguard` takes exactly this back."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguard(text: str) -> str:
    """The text of a cell."""
    return text[1:] if _GUARDED.match(text) else text
