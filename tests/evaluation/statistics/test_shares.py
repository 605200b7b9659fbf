from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from personamem_pipeline.evaluation.statistics.clusters import Totals, sandwich_interval, totals
from personamem_pipeline.evaluation.statistics.shares import share_interval
from tests.evaluation.statistics.simulated import MONTE_CARLO, benchmarks, people


def test_nobody_and_everybody_are_the_exact_binomial_over_persons() -> None:
    counts = np.full(50, 20.0)
    for right, sums in ((0, np.zeros(50)), (50, counts)):
        interval = share_interval(Totals(people(50), sums, counts))
        exact = stats.binomtest(right, 50).proportion_ci(method="exact")
        assert interval is not None
        assert (interval.low, interval.high) == pytest.approx((exact.low, exact.high))


def test_independent_answers_give_clopper_and_pearson() -> None:
    """20 of 200 persons with one question each: n* is N - 1, since the sandwich has the G / (G - 1)."""
    interval = share_interval(totals([1.0] * 20 + [0.0] * 180, people(200)))
    # Clopper-Pearson for 20 of 200 is 0.0622 to 0.1502 (e.g. Newcombe's tables); 199 answers move the 4th digit.
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((0.0622, 0.1502), abs=2e-4)


def test_answers_that_all_agree_count_once_per_person() -> None:
    once = share_interval(totals([1.0] * 12 + [0.0] * 18, people(30)))
    names = [name for name in people(30) for _ in range(10)]
    ten_times = share_interval(totals([1.0] * 120 + [0.0] * 180, names))
    assert once is not None
    assert ten_times is not None
    # Wider by nothing but the t ratio, which knows that the spread came from 30 persons.
    assert ten_times.low == pytest.approx(once.low, abs=0.01)
    assert ten_times.high == pytest.approx(once.high, abs=0.01)


@pytest.mark.parametrize(("persons", "share"), [(30, 0.6), (30, 0.95), (60, 0.9), (200, 0.98)])
def test_it_covers_near_the_ends_where_the_sandwich_does_not(persons: int, share: float) -> None:
    covered = {"share": 0, "sandwich": 0}
    for data in benchmarks(persons, share, correlation=0.1, seed=7):
        ours, sandwich = share_interval(data), sandwich_interval(data)
        assert ours is not None
        assert sandwich is not None
        covered["share"] += ours.low <= share <= ours.high
        covered["sandwich"] += sandwich.low <= share <= sandwich.high
    assert 0.93 <= covered["share"] / MONTE_CARLO <= 0.97
    if (persons, share) == (30, 0.95):
        assert covered["sandwich"] / MONTE_CARLO < 0.92


def test_one_person_and_other_values_than_shares() -> None:
    assert share_interval(totals([1.0, 0.0], ["a", "a"], names=["a", "b"])) is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        share_interval(totals([1.0, -1.0], ["a", "b"]))


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=2, max_size=30))
def test_it_holds_the_share_within_0_and_1_and_mirrors(right_and_wrong: list[tuple[int, int]]) -> None:
    right, wrong = (np.array(column, dtype=float) for column in zip(*right_and_wrong, strict=True))
    names, counts = people(len(right)), right + wrong
    if np.count_nonzero(counts) > 1:
        one, mirrored = (share_interval(Totals(names, sums, counts)) for sums in (right, wrong))
        assert one is not None
        assert mirrored is not None
        assert 0 <= one.low <= right.sum() / counts.sum() <= one.high <= 1
        assert (one.low, one.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low), abs=1e-9)
