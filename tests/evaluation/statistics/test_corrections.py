from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personamem_pipeline.evaluation.statistics.corrections import holm


def test_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04; none below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_what_was_not_tested_stays_out() -> None:
    assert holm([0.01, None, 0.04, None]) == [pytest.approx(0.02), None, pytest.approx(0.04), None]
    assert holm([None, None]) == [None, None]
    assert holm([]) == []


@pytest.mark.parametrize("wrong", [float("nan"), 1.2, -0.1])
def test_what_is_no_p_value_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, wrong])


@settings(max_examples=8)  # multipletests collects garbage, some 0.1 s a call
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_between_the_raw_p_and_bonferroni_and_in_the_same_order(ps: list[float]) -> None:
    adjusted = holm(ps)
    for raw, corrected in zip(ps, adjusted, strict=True):
        assert corrected is not None
        assert raw <= corrected <= min(1.0, len(ps) * max(raw, min(ps)) if raw == min(ps) else 1.0) + 1e-12
    ranked = [corrected for _, corrected in sorted(zip(ps, adjusted, strict=True))]
    assert ranked == sorted(ranked)
