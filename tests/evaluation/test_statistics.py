from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from personamem_pipeline.evaluation.statistics import (
    Totals,
    cluster_bootstrap_mean,
    cluster_sandwich_se,
    paired_cluster_permutation,
    pool,
    totals,
)

VALUES = [1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 1]
PERSONS = list("aaabbbbccddd")


def of(differences: list[float]) -> tuple[Totals, Totals]:
    """Two systems whose per-person differences of totals are these."""
    names = tuple(f"p{index:02d}" for index in range(len(differences)))
    counts = np.full(len(names), 10.0)
    fives = np.full(len(names), 5.0)
    return Totals(names, fives + differences, counts), Totals(names, fives, counts)


def test_sandwich_equals_statsmodels() -> None:
    # sm.OLS(y, ones).fit(cov_type="cluster", cov_kwds={"groups": g}).bse with statsmodels 0.14
    assert cluster_sandwich_se(totals(VALUES, PERSONS)) == pytest.approx(0.11509076754311166, rel=1e-12)


def test_sandwich_with_one_value_each_is_the_ordinary_standard_error() -> None:
    values = [0.2, 0.9, 0.4, 0.4, 0.7]
    expected = np.std(values, ddof=1) / np.sqrt(5)
    assert cluster_sandwich_se(totals(values, list("abcde"))) == pytest.approx(expected)


def test_bootstrap_agrees_with_scipy() -> None:
    generator = np.random.default_rng(1)
    counts = generator.integers(2, 9, size=40).astype(float)
    right = generator.binomial(counts.astype(int), 0.4).astype(float)
    data = Totals(tuple(f"p{i:02d}" for i in range(40)), right, counts)
    ours = cluster_bootstrap_mean(data, resamples=20_000, seed=0)
    theirs = stats.bootstrap(
        (data.sums, data.counts), lambda s, n, axis: s.sum(axis) / n.sum(axis), paired=True, vectorized=True,
        n_resamples=20_000, method="percentile", rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.003)


def test_one_person_has_no_interval_and_no_test() -> None:
    data = totals([1, 0, 1], ["a", "a", "a"])
    assert cluster_bootstrap_mean(data, resamples=300, seed=0) is None
    assert cluster_sandwich_se(data) is None
    assert paired_cluster_permutation(data, data, resamples=300, seed=0).p is None


def test_exact_permutation_by_hand_and_by_scipy() -> None:
    # Magnitudes 3, 1, 2, 1; |sum| >= 5 in 6 of the 16 sign patterns.
    differences = [3.0, 1.0, 2.0, -1.0]
    test = paired_cluster_permutation(*of(differences), resamples=300, seed=0)
    assert (test.exact, test.p) == (True, 6 / 16)
    theirs = stats.permutation_test((np.array(differences),), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert test.p == theirs.pvalue


def test_monte_carlo_agrees_with_the_exact_p() -> None:
    differences = list(np.random.default_rng(3).integers(-2, 5, size=17).astype(float))
    exact = stats.permutation_test((np.array(differences),), np.sum, permutation_type="samples", n_resamples=np.inf)
    test = paired_cluster_permutation(*of(differences), resamples=20_000, seed=0)
    assert not test.exact
    assert test.p == pytest.approx(exact.pvalue, abs=0.006)


def test_monte_carlo_p_is_never_zero() -> None:
    test = paired_cluster_permutation(*of([4.0] * 40), resamples=500, seed=0)
    assert test.p == 1 / 501


def test_no_difference_gives_p_one() -> None:
    assert paired_cluster_permutation(*of([0.0] * 6), resamples=300, seed=0).p == 1.0


def test_unpaired_data_are_refused() -> None:
    a, b = of([1.0, 2.0])
    with pytest.raises(ValueError, match="same answered questions"):
        paired_cluster_permutation(a, Totals(b.names, b.sums, b.counts + 1), resamples=300, seed=0)


def test_pooling_a_copy_of_a_seed_is_no_new_evidence() -> None:
    a, b = of([2.0, 1.0, 3.0, -1.0, 2.0, 0.0, 1.0])
    once = paired_cluster_permutation(a, b, resamples=300, seed=0)
    twice = paired_cluster_permutation(pool([a, a]), pool([b, b]), resamples=300, seed=0)
    assert (twice.p, twice.difference, twice.clusters) == (once.p, once.difference, once.clusters)
    assert (twice.low, twice.high) == (once.low, once.high)


def test_gap_interval_uses_the_same_persons_on_both_sides() -> None:
    data = totals(VALUES, PERSONS)
    interval = cluster_bootstrap_mean(data, minus=data, resamples=300, seed=0)
    assert (interval.low, interval.high) == (0.0, 0.0)


def test_intervals_cover_what_they_promise_and_naive_ones_do_not() -> None:
    """60 people with 2 to 9 questions; people differ (standard deviation 0.2), so their questions are correlated."""
    generator, repetitions, truth = np.random.default_rng(4), 600, 0.5
    names = tuple(f"p{i:02d}" for i in range(60))
    covered = {"bootstrap": 0, "sandwich": 0, "naive": 0}
    student = stats.t.ppf(0.975, df=59)
    for repetition in range(repetitions):
        counts = generator.integers(2, 10, size=60)
        ability = np.clip(generator.normal(truth, 0.2, size=60), 0, 1)
        data = Totals(names, generator.binomial(counts, ability).astype(float), counts.astype(float))
        interval = cluster_bootstrap_mean(data, resamples=400, seed=repetition)
        covered["bootstrap"] += interval.low <= truth <= interval.high
        covered["sandwich"] += abs(data.mean - truth) <= student * cluster_sandwich_se(data)
        naive = np.sqrt(data.mean * (1 - data.mean) / counts.sum())
        covered["naive"] += abs(data.mean - truth) <= 1.96 * naive
    shares = {name: count / repetitions for name, count in covered.items()}
    assert 0.93 <= shares["bootstrap"] <= 0.97
    assert 0.93 <= shares["sandwich"] <= 0.97
    assert shares["naive"] < 0.92


def test_permutation_p_values_are_uniform_without_a_difference() -> None:
    generator = np.random.default_rng(5)
    p = []
    for repetition in range(300):
        a, b = of(list(generator.normal(0, 1, size=20)))
        p.append(paired_cluster_permutation(a, b, resamples=199, seed=repetition).p)
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.03)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdef")), min_size=2, max_size=40), st.randoms())
def test_the_order_of_answers_changes_nothing(rows: list[tuple[bool, str]], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    first, second = (totals([float(v) for v, _ in some], [p for _, p in some]) for some in (rows, shuffled))
    assert cluster_sandwich_se(first) == cluster_sandwich_se(second)
    one, other = (cluster_bootstrap_mean(data, resamples=200, seed=0) for data in (first, second))
    assert one == other
    if one is not None:
        assert 0 <= one.low <= one.high <= 1
