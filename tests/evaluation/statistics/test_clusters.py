from __future__ import annotations

import random
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import OLS

from personamem_pipeline.evaluation.statistics.clusters import (
    Totals,
    cluster_bootstrap_mean,
    cluster_sandwich_se,
    pool,
    sandwich_interval,
    totals,
)
from tests.evaluation.statistics.simulated import MONTE_CARLO, benchmarks, people

VALUES = [1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 1]
PERSONS = list("aaabbbbccddd")

Rows = st.lists(st.tuples(st.booleans(), st.sampled_from("abcdef")), min_size=2, max_size=40)


def of(rows: list[tuple[bool, str]], names: str | None = None) -> Totals:
    return totals([float(value) for value, _ in rows], [person for _, person in rows], names)


def test_totals_by_hand() -> None:
    data = totals(VALUES, PERSONS, names="dcbax")
    assert data.sums.tolist() == [1, 2, 2, 2, 0]
    assert data.counts.tolist() == [3, 2, 4, 3, 0]
    assert (data.mean, data.clusters) == (7 / 12, 4)


def test_a_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        _ = totals([], [], names=["a", "b"]).mean


def test_sandwich_equals_statsmodels() -> None:
    generator = np.random.default_rng(0)
    for size in (12, 200):
        person = generator.integers(0, 9, size=size)
        values = generator.normal(size=size) + generator.normal(size=9)[person]
        theirs = OLS(values, np.ones(size)).fit(cov_type="cluster", cov_kwds={"groups": person}, use_t=True)
        data = totals(values.tolist(), [str(one) for one in person])
        assert cluster_sandwich_se(data) == pytest.approx(theirs.bse[0], rel=1e-12)
        interval = sandwich_interval(data)
        assert interval is not None
        assert (interval.low, interval.high) == pytest.approx(theirs.conf_int()[0], rel=1e-12)


def test_sandwich_by_hand() -> None:
    # Mean 0.5; residual sums of the persons +1, -1, 0; sqrt(3 / 2 * 2) / 6, times t(2, 0.975) = 4.3027 (any t table).
    interval = sandwich_interval(totals([1, 1, 0, 0, 1, 0], list("aabbcc")))
    assert interval is not None
    assert interval.high - 0.5 == pytest.approx(4.3027 * 3**0.5 / 6, abs=1e-4)


def test_with_one_value_each_the_sandwich_is_the_ordinary_t_interval() -> None:
    values = [0.2, 0.9, 0.4, 0.4, 0.7]
    interval = sandwich_interval(totals(values, list("abcde")), level=0.9)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(tuple(expected))


def test_bootstrap_agrees_with_scipy() -> None:
    data = next(benchmarks(40, share=0.4, correlation=0.1, seed=1, number=1))
    ours = cluster_bootstrap_mean(data, resamples=20_000, seed=0)
    # The expanded percentile interval is the percentile interval of a higher level.
    level = 1 - 2 * stats.norm.cdf(np.sqrt(40 / 39) * stats.t.ppf(0.025, df=39))
    theirs = stats.bootstrap(
        (data.sums, data.counts), lambda s, n, axis: s.sum(axis) / n.sum(axis), paired=True, vectorized=True,
        n_resamples=20_000, method="percentile", confidence_level=level, rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.004)


@pytest.mark.parametrize("persons", [30, 60, 200])
def test_intervals_cover_what_they_promise_and_naive_ones_do_not(persons: int) -> None:
    truth, covered = 0.6, dict.fromkeys(("bootstrap", "sandwich", "naive"), 0)
    for data in benchmarks(persons, truth, correlation=0.2, seed=persons):
        bootstrap = cluster_bootstrap_mean(data, resamples=1000, seed=0)
        sandwich = sandwich_interval(data)
        assert bootstrap is not None
        assert sandwich is not None
        covered["bootstrap"] += bootstrap.low <= truth <= bootstrap.high
        covered["sandwich"] += sandwich.low <= truth <= sandwich.high
        covered["naive"] += abs(data.mean - truth) <= 1.96 * np.sqrt(data.mean * (1 - data.mean) / data.counts.sum())
    assert 0.93 <= covered["bootstrap"] / MONTE_CARLO <= 0.97
    assert 0.93 <= covered["sandwich"] / MONTE_CARLO <= 0.97
    assert covered["naive"] / MONTE_CARLO < 0.8


def test_one_person_has_no_interval() -> None:
    for data in (totals([1, 0, 1], ["a", "a", "a"]), totals([1, 0, 1], ["a", "a", "a"], names=["a", "b", "c"])):
        assert cluster_sandwich_se(data) is None
        assert sandwich_interval(data) is None
        assert cluster_bootstrap_mean(data, resamples=300, seed=0) is None


def test_a_gap_needs_two_persons_on_either_side() -> None:
    data, one = totals(VALUES, PERSONS), totals([1.0, 0.0], ["a", "a"], names="abcd")
    assert cluster_bootstrap_mean(data, minus=one, resamples=300, seed=0) is None
    assert cluster_bootstrap_mean(one, minus=data, resamples=300, seed=0) is None


def test_a_gap_uses_the_same_persons_on_both_sides() -> None:
    data = totals(VALUES, PERSONS)
    interval = cluster_bootstrap_mean(data, minus=data, resamples=300, seed=0)
    assert interval is not None
    assert (interval.low, interval.high) == (0.0, 0.0)
    with pytest.raises(ValueError, match="same clusters"):
        cluster_bootstrap_mean(data, minus=totals(VALUES, PERSONS, names="dcba"), resamples=300, seed=0)


def test_a_gap_of_which_resamples_miss_a_side_comes_from_the_others() -> None:
    names = people(40)
    few = totals([1.0, 0.0, 1.0], ["p000", "p001", "p002"], names)
    interval = cluster_bootstrap_mean(Totals(names, np.ones(40), np.ones(40)), minus=few, resamples=2000, seed=0)
    assert interval is not None
    assert (interval.low, interval.high, interval.clusters) == (0.0, 1.0, 3)


def test_pooling_adds_per_person() -> None:
    data = totals(VALUES, PERSONS)
    twice = pool([data, data])
    assert (twice.mean, twice.clusters) == (data.mean, data.clusters)
    assert cluster_sandwich_se(twice) == pytest.approx(cluster_sandwich_se(data))  # a copy is no new evidence
    with pytest.raises(ValueError, match="same persons"):
        pool([data, totals([1.0], ["z"])])


@given(Rows, st.randoms(), st.permutations("abcdef"))
def test_the_order_of_answers_and_of_persons_changes_nothing(
    rows: list[tuple[bool, str]], shuffler: random.Random, order: list[str]
) -> None:
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    first, second = of(rows), of(shuffled, "".join(order))
    assert cluster_sandwich_se(first) == pytest.approx(cluster_sandwich_se(second), abs=1e-12)
    one, other = (cluster_bootstrap_mean(data, resamples=200, seed=0) for data in (first, second))
    assert one == other


@given(Rows)
def test_a_share_stays_between_0_and_1_and_a_higher_level_is_wider(rows: list[tuple[bool, str]]) -> None:
    narrow, wide = (cluster_bootstrap_mean(of(rows), resamples=200, seed=0, level=level) for level in (0.5, 0.99))
    if narrow is not None and wide is not None:
        assert 0 <= wide.low <= narrow.low <= narrow.high <= wide.high <= 1


@given(Rows)
def test_shifting_all_values_shifts_the_intervals(rows: list[tuple[bool, str]]) -> None:
    data = of(rows)
    shifted = Totals(data.names, data.sums + 3 * data.counts, data.counts)
    for one, other in (
        (sandwich_interval(data), sandwich_interval(shifted)),
        *((cluster_bootstrap_mean(d, resamples=200, seed=1) for d in (data, shifted)),),
    ):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert (one.low + 3, one.high + 3) == pytest.approx((other.low, other.high))


def test_a_reports_intervals_take_about_a_second() -> None:
    data = list(benchmarks(200, 0.6, 0.2, seed=0, number=100))
    started = time.process_time()
    for repetition in range(500):
        # Slices miss some persons, so that the numbers of persons differ.
        sliced = data[repetition % 100]
        counts = sliced.counts * (np.arange(200) >= repetition % 20)
        assert cluster_bootstrap_mean(Totals(sliced.names, sliced.sums, counts), resamples=2000, seed=0) is not None
    assert time.process_time() - started < 6  # about 2 s; processor time, since the machine may be busy
