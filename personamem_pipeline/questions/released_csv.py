"""Reading and writing the released CSV files: record by record, whatever is wrong with some of them.

Records are split here and not by `csv`, for three reasons: the place of each is needed (a shard reads its persons' rows
and not 157 MB), a quote that is never closed must cost one row and not the rest of the file, and `csv` stops for good at a
byte that is no UTF-8. The splitting itself is simple: a record ends at the first line end with an even number of quotes
before it; `csv` then takes it apart.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from personamem_pipeline.errors import UserError
from personamem_pipeline.questions.released_rows import COLUMNS, CellFault, ReleasedRow, Unreadable
from personamem_pipeline.records import Rejection

MAX_RECORD = 32 << 20
"""Bytes of one row; a longer one is an unclosed quote. Released rows have some 8 kB."""
_ROW = re.compile(rb'"?\d{1,9}"?,(?:"?[^",\n]*"?,)?"?[^",\n]*\.json"?,')
"""How a row of the released column order begins: an id and a link to a history (of either size)."""
_UTF8, _UTF16 = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
MEANT = "a released PersonaMem-v2 table (benchmark/text/benchmark.csv, train.csv, val.csv) with its 27 columns"


@dataclass(frozen=True)
class Layout:
    """How a file is written, beside its rows."""

    columns: tuple[str, ...] = COLUMNS
    line_end: str = "\r\n"
    byte_order_mark: bool = False

    @property
    def shuffled(self) -> bool:
        return self.columns != COLUMNS


@dataclass(frozen=True)
class Place:
    """Where a record stands: its line (from 1), its bytes, and which row of the file it is (from 0)."""

    line: int
    offset: int
    length: int
    number: int


@dataclass(frozen=True)
class ReadRow:
    """One record of a file: a row, or why it is none."""

    path: Path
    place: Place
    row: ReleasedRow | None
    faults: tuple[CellFault, ...] = ()
    """Why `row` is None."""
    raw: str = ""
    """The record as it stands, when `row` is None."""

    @property
    def row_id(self) -> str:
        """What names this row in rejections: the file and the line."""
        return f"{label(self.path)}:{self.place.line}"

    def rejection(self, person_id: str = "") -> Rejection:
        """The rejection of a record that is no row."""
        reasons = "; ".join(f"column {fault.column}: {fault.detail}" for fault in self.faults)
        return Rejection(
            row_id=self.row_id, person_id=person_id, reason=f"{self.faults[0].kind}: {reasons}", content=self.raw
        )


class ReleasedCsv:
    """A released table. Opening it reads the header and raises `UserError` when that is not the released one; iterating
    gives one `ReadRow` a record, in order, one in memory at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _opened(path) as file:
            self.layout, self._start = _header(path, file)

    @property
    def label(self) -> str:
        return label(self.path)

    def __iter__(self) -> Iterator[ReadRow]:
        for place, cells, faults, raw in self._records():
            yield self._row(place, cells, faults, raw)

    def read(self, places: Iterable[Place]) -> Iterator[ReadRow]:
        """The rows at these places."""
        with _opened(self.path) as file:
            for place in places:
                file.seek(place.offset)
                raw = file.read(place.length)
                cells, faults = _take_apart(raw, len(COLUMNS))
                yield self._row(place, cells, faults, raw)

    def persons(self) -> Persons:
        """Which rows are whose; the file is read once per process for it."""
        stat = self.path.stat()
        return _persons(str(self.path), stat.st_mtime_ns, stat.st_size)

    def _row(self, place: Place, cells: list[str], faults: tuple[CellFault, ...], raw: bytes) -> ReadRow:
        if not faults:
            try:
                row = ReleasedRow.from_cells(dict(zip(self.layout.columns, cells, strict=True)))
                return ReadRow(self.path, place, row)
            except Unreadable as error:
                faults = error.faults
        return ReadRow(self.path, place, None, faults, raw.decode("utf-8", "replace"))

    def _records(self) -> Iterator[tuple[Place, list[str], tuple[CellFault, ...], bytes]]:
        number, broken = 0, False
        with _opened(self.path) as file:
            offset, line = self._start
            file.seek(offset)
            while raw := _record(file):
                lines = raw.count(b"\n")
                if not raw.strip():  # an empty line is no row
                    offset, line = offset + len(raw), line + lines
                    continue
                cells, faults = _take_apart(raw, len(COLUMNS))
                if faults and (cut := self._next_row(raw)):
                    # A quote was opened and not closed: what follows it are rows again.
                    raw, lines = raw[:cut], raw[:cut].count(b"\n")
                    file.seek(offset + cut)
                if faults and broken and not self.layout.shuffled and not _ROW.match(raw):
                    # The rest of the broken row before it, not a row of its own.
                    offset, line = offset + len(raw), line + lines
                    continue
                yield Place(line, offset, len(raw), number), cells, faults, raw
                offset, line, number, broken = offset + len(raw), line + lines, number + 1, bool(faults)

    def _next_row(self, raw: bytes) -> int:
        """Where the next row begins inside a broken record; 0 when there is none."""
        place = raw.find(b"\n") + 1
        while 0 < place < len(raw):
            if self._begins_row(raw, place):
                return place
            place = raw.find(b"\n", place) + 1
        return 0

    def _begins_row(self, raw: bytes, place: int) -> bool:
        if not self.layout.shuffled:
            return _ROW.match(raw, place) is not None
        cells, faults = _take_apart(_record(io.BytesIO(raw[place : place + (1 << 18)])), len(COLUMNS))
        return not faults and cells[self.layout.columns.index("persona_id")].isdigit()


@dataclass(frozen=True)
class Persons:
    """Which rows of a file are whose. `strays` are records whose person cannot be read."""

    places: dict[int, tuple[Place, ...]]
    strays: tuple[Place, ...]
    rows: int


@lru_cache(maxsize=8)
def _persons(path: str, changed: int, size: int) -> Persons:
    table = ReleasedCsv(Path(path))
    column = table.layout.columns.index("persona_id")
    places: dict[int, list[Place]] = {}
    strays: list[Place] = []
    for place, cells, faults, _ in table._records():
        person = cells[column].removesuffix(".0") if not faults else ""
        if person.isascii() and person.isdigit() and len(person) < 10:
            places.setdefault(int(person), []).append(place)
        else:
            strays.append(place)
    rows = sum(map(len, places.values())) + len(strays)
    return Persons({person: tuple(own) for person, own in places.items()}, tuple(strays), rows)


def label(path: Path) -> str:
    """What a table is called in reports: `text/benchmark.csv`; the multimodal one beside it has the same file name."""
    return "/".join(path.parts[-2:])


def write_rows(
    file: io.TextIOBase | io.TextIOWrapper, rows: Iterable[ReleasedRow], layout: Layout | None = None
) -> int:
    """Write a table with its header to a text file opened with `newline=""`; the number of rows. What was read with a
    layout is written back byte by byte."""
    layout = layout or Layout()
    if layout.byte_order_mark:
        file.write("\ufeff")
    writer = csv.writer(file, lineterminator=layout.line_end)
    writer.writerow(layout.columns)
    count = 0
    for row in rows:
        cells = row.cells()
        writer.writerow([cells[column] for column in layout.columns])
        count += 1
    return count


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(
            f"cannot be read: {error.strerror}", where=path, expected=MEANT, remedy="correct the path"
        ) from error


def _header(path: Path, file: BinaryIO) -> tuple[Layout, tuple[int, int]]:
    """The layout, and (offset, line) of the first record."""
    raw = _record(file)
    if raw.startswith(_UTF16):
        raise UserError("not UTF-8: it begins like UTF-16", where=path, expected=MEANT, remedy="save it as UTF-8")
    if not raw.strip(b"\r\n \t" + _UTF8):
        raise UserError("the file is empty", where=path, expected=MEANT, remedy="download it again")
    mark = raw.startswith(_UTF8)
    names, faults = _take_apart(raw[len(_UTF8) :] if mark else raw, None)
    if faults:
        raise UserError(f"the header is broken: {faults[0].detail}", where=f"{path}:1", expected=MEANT,
                        remedy="download it again")  # fmt: skip
    missing = [column for column in COLUMNS if column not in names]
    extra = [name for name in names if name not in COLUMNS]
    twice = sorted({name for name in names if names.count(name) > 1})
    if missing or extra or twice:
        problems = {"missing columns": missing, "unknown columns": extra, "columns given twice": twice}
        raise UserError(
            "; ".join(f"{what}: {_listed(columns)}" for what, columns in problems.items() if columns),
            where=f"{path}:1",
            expected="the 27 columns of the released tables: " + ", ".join(COLUMNS),
            remedy="if a tool added an index column, write without it (pandas: to_csv(index=False))"
            if extra and not missing
            else "give a released table; rows of v1 or of another dataset have other columns",
        )
    line_end = "\r\n" if raw.endswith(b"\r\n") else "\n"
    return Layout(tuple(names), line_end, mark), (len(raw), 1 + raw.count(b"\n"))


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name if len(name) <= 40 else name[:39] + "…") for name in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _record(file: BinaryIO | io.BytesIO) -> bytes:
    """The bytes of the next record with its line end; empty at the end of the file."""
    lines: list[bytes] = []
    quotes = length = 0
    while line := file.readline(MAX_RECORD):
        lines.append(line)
        quotes += line.count(b'"')
        length += len(line)
        if quotes % 2 == 0 or length >= MAX_RECORD:
            break
    return b"".join(lines)


def _take_apart(raw: bytes, count: int | None) -> tuple[list[str], tuple[CellFault, ...]]:
    """The cells of a record and no fault, or what is wrong with the record as a whole."""
    if csv.field_size_limit() < MAX_RECORD:
        csv.field_size_limit(MAX_RECORD)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        return [], (CellFault("not_utf8", "-", f"byte {error.start} of the row is 0x{raw[error.start]:02x}"),)
    try:
        found = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        return [], (CellFault("broken_row", "-", f"cannot be split into cells: {error}"),)
    cells = found[0] if found else []
    if len(found) != 1 or (count is not None and len(cells) != count):
        detail = f"{len(cells)} cells instead of {count}" if len(found) == 1 else f"{len(found)} rows in one"
        return [], (CellFault("broken_row", "-", detail),)
    return cells, ()
