from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.evaluation.scoring.opened import open_scores
from tests.evaluation.scoring.made import BOUNDS, opened


def test_missing_verdicts_are_bounded_not_zero() -> None:
    answers = [
        opened("q1", "p1", (1.0, 1.0)),
        opened("q2", "p1", (0.5, 0.25)),
        opened("q3", "p2", (1.0, None)),
        opened("q4", "p2", (0.5, 0.5)),
    ]
    found = open_scores(answers, threshold=0.5, **BOUNDS)
    assert found["mean"] == pytest.approx((1 + 0.375 + 0.5) / 3)
    assert found["accuracy"] == 2 / 3 and found["threshold"] == 0.5
    assert (found["n"], found["missing"], found["lowest"], found["highest"]) == (4, 1, 1.875 / 4, 2.875 / 4)
    assert found["by_judge"] == {"j0": 0.75, "j1": pytest.approx(1.75 / 3)}
    assert found["low"] <= found["mean"] <= found["high"]


def test_no_verdict_at_all_is_not_known() -> None:
    found = open_scores([opened("q1", "p1", (None,))], threshold=0.5, **BOUNDS)
    assert {found[name] for name in ("mean", "low", "high", "accuracy", "accuracy_low", "accuracy_high")} == {None}
    assert (found["lowest"], found["highest"], found["by_judge"]) == (0.0, 1.0, {})


@given(st.lists(st.sampled_from([None, 0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=20))
def test_the_mean_lies_within_its_bounds(scores: list[float | None]) -> None:
    found = open_scores([opened(f"q{at}", f"p{at % 3}", (s,)) for at, s in enumerate(scores)], threshold=0.5, **BOUNDS)
    assert found["lowest"] <= found["highest"] <= 1
    if found["mean"] is not None:
        assert found["lowest"] - 1e-9 <= found["mean"] <= found["highest"] + 1e-9
