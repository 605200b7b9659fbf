"""Released tables with everything that can be wrong with a file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.questions.released_csv import ReleasedCsv, write_rows
from personamem_pipeline.questions.released_rows import COLUMNS
from tests.questions.released_files import ABSENT, REAL_CSV, cells, table, write_table


def written_back(opened: ReleasedCsv) -> bytes:
    text = io.StringIO(newline="")
    write_rows(text, [read.row for read in opened if read.row], opened.layout)
    return text.getvalue().encode()


def outcomes(path: Path) -> list[int | str]:
    """The person of each row that was read, the kind of fault of each other one."""
    return [read.row.persona_id if read.row else read.faults[0].kind for read in ReleasedCsv(path)]


@pytest.mark.parametrize("line_end", ["\r\n", "\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_file_is_written_back_byte_by_byte(tmp_path: Path, line_end: str, mark: str) -> None:
    odd = cells(8, preference='a "quoted",\r\ntext\nof\rlines', correct_answer="é—🙂", persona_id="8.0")
    path = write_table(tmp_path / "benchmark.csv", [cells(7), odd, cells(9)], line_end=line_end, mark=mark)
    opened = ReleasedCsv(path)
    assert [read.row.persona_id for read in opened if read.row] == [7, 8, 9]
    assert written_back(opened) == path.read_bytes()


def test_shuffled_columns_are_read_by_name_and_told(tmp_path: Path) -> None:
    path = write_table(tmp_path / "benchmark.csv", [cells(7), cells(8)], columns=COLUMNS[::-1])
    opened = ReleasedCsv(path)
    assert opened.layout.shuffled and [read.row.persona_id for read in opened if read.row] == [7, 8]
    assert written_back(opened) == path.read_bytes()
    assert sorted(opened.persons().places) == [7, 8]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf\r\n", "the file is empty"),
        (table([]).replace(b"who,", b""), "missing columns: 'who'"),
        (table([]).replace(b"persona_id,", b",persona_id,"), "unknown columns: ''"),
        (table([]).replace(b"who,", b"who,who,"), "columns given twice: 'who'"),
        (table([]).replace(b",", b";"), "missing columns: .* and 22 more"),
        (table([]).decode().encode("utf-16"), "UTF-16"),
        (b'"persona_id' + b"x" * 1000, "the header is broken"),
        (b"\x89PNG\r\n\x1a\n\0\0", "the header is broken: byte 0"),
    ],
)
def test_a_wrong_header_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "benchmark.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=problem) as raised:
        ReleasedCsv(path)
    assert raised.value.expected and raised.value.remedy and len(str(raised.value)) < 2000


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        ReleasedCsv(tmp_path / "benchmark.csv")


def test_only_a_header_has_no_rows(tmp_path: Path) -> None:
    opened = ReleasedCsv(write_table(tmp_path / "benchmark.csv", []))
    assert list(opened) == [] and opened.persons().rows == 0


def test_a_field_of_a_megabyte_is_read(tmp_path: Path) -> None:
    path = write_table(tmp_path / "benchmark.csv", [cells(7, correct_answer="x" * (1 << 20)), cells(8)])
    assert outcomes(path) == [7, 8]


def test_broken_rows_cost_no_others(tmp_path: Path) -> None:
    good = table([cells(person) for person in range(5)]).split(b"\r\n4,")[0] + b"\r\n"
    rows = [
        table([cells(10, user_query="{'role': 'user'")]).partition(b"\r\n")[2],
        table([cells(11)]).partition(b"\r\n")[2].replace(b",self,", b",", 1),
        table([cells(12, preference="caf\xe9")]).partition(b"\r\n")[2].decode().encode("latin-1"),
        table([cells(13, preference="a\0b")]).partition(b"\r\n")[2],
        b"\r\n",
        table([cells(14)]).partition(b"\r\n")[2],
    ]
    path = tmp_path / "benchmark.csv"
    path.write_bytes(good + b"".join(rows))
    assert outcomes(path) == [0, 1, 2, 3, "broken_literal", "broken_row", "not_utf8", "nul_byte", 14]
    faulty = [read for read in ReleasedCsv(path) if read.row is None]
    lines = path.read_bytes().split(b"\n")
    for read, start in zip(faulty, (b"10,", b"11,", b"12,", b"13,"), strict=True):
        assert lines[read.place.line - 1].startswith(start)
    rejection = faulty[0].rejection("p0010")
    assert rejection.row_id.endswith(f"/benchmark.csv:{faulty[0].place.line}")
    assert rejection.reason.startswith("broken_literal: column user_query: ") and rejection.content.startswith("10,")


@pytest.mark.parametrize("at", [b"Green tea,", b"data/raw_data", b"A pot"])
def test_a_quote_that_is_never_closed_costs_one_row(tmp_path: Path, at: bytes) -> None:
    whole = table([cells(person) for person in (7, 8, 9, 10)])
    place = whole.index(at, whole.index(b"\r\n8,"))
    path = tmp_path / "benchmark.csv"
    path.write_bytes(whole[:place] + b'"' + whole[place:])
    assert outcomes(path) == [7, "broken_row", 9, 10]
    opened = ReleasedCsv(path)
    assert sorted(opened.persons().places) == [7, 9, 10] and opened.persons().rows == 4


def test_a_file_that_was_cut_off_loses_its_last_row(tmp_path: Path) -> None:
    whole = table([cells(person) for person in (7, 8)])
    path = tmp_path / "benchmark.csv"
    for end in (len(whole) - 200, whole.index(b"Polish", whole.index(b"\r\n8,"))):
        path.write_bytes(whole[:end])
        assert outcomes(path) == [7, "broken_row"]


def test_the_last_line_needs_no_end(tmp_path: Path) -> None:
    path = tmp_path / "benchmark.csv"
    path.write_bytes(table([cells(7), cells(8)])[:-2])
    assert outcomes(path) == [7, 8]


def test_rows_are_found_again_by_person(tmp_path: Path) -> None:
    rows = [cells(7, topic_query=str(index)) if index % 2 else cells(8 + index) for index in range(6)]
    opened = ReleasedCsv(write_table(tmp_path / "train.csv", rows))
    persons = opened.persons()
    assert sorted(persons.places) == [7, 8, 10, 12] and persons.rows == 6 and not persons.strays
    found = [read.row.topic_query for read in opened.read(persons.places[7]) if read.row]
    assert found == ["1", "3", "5"]
    assert list(opened.read(persons.places[7])) == [read for read in opened if read.row and read.row.persona_id == 7]


def test_a_changed_file_is_indexed_anew(tmp_path: Path) -> None:
    path = write_table(tmp_path / "train.csv", [cells(7)])
    assert sorted(ReleasedCsv(path).persons().places) == [7]
    write_table(path, [cells(7), cells(8)])
    assert sorted(ReleasedCsv(path).persons().places) == [7, 8]


def test_the_limit_of_csv_is_only_ever_raised(tmp_path: Path) -> None:
    before = csv.field_size_limit(1 << 30)
    try:
        assert outcomes(write_table(tmp_path / "benchmark.csv", [cells(7)])) == [7]
        assert csv.field_size_limit() == 1 << 30
    finally:
        csv.field_size_limit(before)


@pytest.mark.skipif(not REAL_CSV.is_file(), reason=ABSENT)
def test_the_real_file_byte_by_byte() -> None:
    opened = ReleasedCsv(REAL_CSV)
    assert written_back(opened) == REAL_CSV.read_bytes()
    assert [read.place.line for read in opened] == [2] and not opened.layout.shuffled
