from __future__ import annotations

from personamem_pipeline.records import CONTENT_LIMIT, Rejection


def test_a_rejection_keeps_the_beginning_of_what_came_back() -> None:
    row = Rejection(row_id="a", person_id="b", reason="c: d", content="x" * (CONTENT_LIMIT + 1))
    assert row.content == "x" * CONTENT_LIMIT
