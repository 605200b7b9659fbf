"""`rows.json`: equal for equal sets, readable line by line, refused where it names rows that it has not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.passports.records import ROWS, RowsUsed
from personamem_pipeline.passports.used import read_rows, rows_text, rows_used, steps_of, summary

STEPS = st.lists(st.lists(st.text("abt0.q", min_size=1, max_size=4)), max_size=6)


@given(STEPS)
def test_what_was_seen_is_read_back(steps: list[list[str]]) -> None:
    used = rows_used(steps)
    assert RowsUsed.model_validate_json(rows_text(used)) == used
    assert [{used.ids[place] for place in step} for step in used.steps] == [set(step) for step in steps]
    assert list(used.ids) == sorted({row for step in steps for row in step})
    assert used == rows_used([[*reversed(step), *step] for step in steps])
    assert summary(used) == {"steps": len(steps), "rows": len({row for step in steps for row in step})}


@given(STEPS)
def test_a_row_knows_its_steps(steps: list[list[str]]) -> None:
    found = steps_of(rows_used(steps), {"a", "t0", "nobody"})
    for row in ("a", "t0"):
        assert found.get(row, []) == [number for number, step in enumerate(steps, start=1) if row in step]
    assert "nobody" not in found


def test_a_step_stands_on_a_line_of_its_own() -> None:
    lines = rows_text(rows_used([["t1.q0", "t1"], ["t0"], []])).splitlines()
    assert lines == ['{"format":1,', '"ids":["t0","t1","t1.q0"],', '"steps":[', "[1,2],", "[0],", "[]", "]}"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "does not say which rows"),
        (b"\xff", "not a list of rows"),
        (b'{"format": 1, "ids": ["a"]}', "not a list of rows"),
        (json.dumps({"format": 1, "ids": ["a"], "steps": [[0], [0, 1]]}).encode(), "step 2 names row 1"),
        (json.dumps({"format": 1, "ids": ["a"], "steps": [[-1]]}).encode(), "step 1 names row -1"),
    ],
)
def test_a_broken_file_is_refused(content: bytes | None, problem: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / ROWS).write_bytes(content)
    with pytest.raises(IntegrityError, match=problem):
        read_rows(tmp_path)
