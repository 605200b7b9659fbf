from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from personamem_pipeline.evaluation.statistics.clusters import Totals, pool, totals
from personamem_pipeline.evaluation.statistics.paired import mcnemar, paired_cluster_permutation
from tests.evaluation.statistics.simulated import comparisons, people

Differences = st.lists(st.integers(-4, 4), min_size=2, max_size=20)


def of(differences: list[float]) -> tuple[Totals, Totals]:
    """Two systems whose per-person differences of totals are these."""
    names = people(len(differences))
    counts, fives = np.full(len(names), 10.0), np.full(len(names), 5.0)
    return Totals(names, fives + differences, counts), Totals(names, fives, counts)


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
    test = paired_cluster_permutation(*of([0.0] * 6), resamples=300, seed=0)
    assert (test.p, test.difference, test.low, test.high) == (1.0, 0.0, 0.0, 0.0)


def test_one_person_gives_no_p_and_no_interval() -> None:
    both = totals([1, 0, 1], ["a", "a", "a"], names=["a", "b"]), totals([0, 0, 1], ["a", "a", "a"], names=["a", "b"])
    test = paired_cluster_permutation(
        *both, resamples=300, seed=0, correct_a=[True, False, True], correct_b=[False, False, True]
    )
    assert (test.p, test.low, test.high, test.mcnemar_p, test.clusters, test.n) == (None, None, None, None, 1, 3)
    assert test.difference == pytest.approx(1 / 3)


def test_unpaired_data_are_refused() -> None:
    a, b = of([1.0, 2.0])
    with pytest.raises(ValueError, match="same answered questions"):
        paired_cluster_permutation(a, Totals(b.names, b.sums, b.counts + 1), resamples=300, seed=0)
    with pytest.raises(ValueError, match="both sides"):
        paired_cluster_permutation(a, b, resamples=300, seed=0, correct_a=[True])


def test_pooling_a_copy_of_a_seed_is_no_new_evidence() -> None:
    a, b = of([2.0, 1.0, 3.0, -1.0, 2.0, 0.0, 1.0])
    once = paired_cluster_permutation(a, b, resamples=300, seed=0)
    twice = paired_cluster_permutation(pool([a, a]), pool([b, b]), resamples=300, seed=0)
    assert (twice.p, twice.difference, twice.clusters) == (once.p, once.difference, once.clusters)
    assert (twice.low, twice.high) == (once.low, once.high)


@pytest.mark.parametrize("persons", [30, 100])
def test_false_positives_are_as_many_as_promised(persons: int) -> None:
    # One standard error of a share of 5 % in 3,000: 0.4 points. Sums of whole numbers tie, so that few persons with
    # few questions give somewhat less than 5 %.
    repetitions = 3000
    found = [
        paired_cluster_permutation(a, b, resamples=199, seed=number).p
        for number, (a, b) in enumerate(comparisons(persons, 0.0, seed=11, number=repetitions))
    ]
    rejected = np.mean([p is not None and p <= 0.05 for p in found])
    assert 0.04 <= rejected <= 0.06


def test_mcnemar_takes_clustered_answers_for_more_than_they_are() -> None:
    """Ten answers per person that all agree: the clustered p is right, McNemar's far too small."""
    people_won = [True] * 9 + [False] * 5
    correct_a = [won for won in people_won for _ in range(10)]
    correct_b = [not won for won in correct_a]
    names = [name for name in people(14) for _ in range(10)]
    test = paired_cluster_permutation(
        totals(correct_a, names), totals(correct_b, names), resamples=300, seed=0,
        correct_a=correct_a, correct_b=correct_b,
    )  # fmt: skip
    assert test.p == pytest.approx(stats.binomtest(9, 14).pvalue)
    assert test.mcnemar_p is not None
    assert test.mcnemar_p < 0.01


def pairs(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[bool], list[bool]]:
    a = [True] * (both + only_a) + [False] * (only_b + neither)
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return a, b


def test_mcnemar_textbook_values() -> None:
    # Agresti, Categorical Data Analysis, approval ratings 794, 150, 86, 570: z = 4.17 without correction; with it
    # chi2 = (150 - 86 - 1)^2 / 236 = 16.82, p = 4.1e-5.
    assert mcnemar(*pairs(794, 150, 86, 570)) == pytest.approx(4.115e-5, rel=1e-3)
    # Few discordant pairs, exact: 2 * P(X <= 2), X ~ B(12, 1/2) = 2 * 79 / 4096.
    assert mcnemar(*pairs(5, 10, 2, 7)) == pytest.approx(158 / 4096)


def test_mcnemar_without_discordant_pairs_and_without_answers() -> None:
    assert mcnemar([True, False], [True, False]) == 1.0
    assert mcnemar([], []) is None
    with pytest.raises(ValueError, match="2 answers on one side, 1"):
        mcnemar([True, False], [True])


@given(Differences)
def test_swapping_the_systems_negates(differences: list[int]) -> None:
    a, b = of([float(one) for one in differences])
    first, second = (paired_cluster_permutation(*pair, resamples=200, seed=0) for pair in ((a, b), (b, a)))
    assert first.p == second.p
    assert first.difference == pytest.approx(-second.difference)
    assert (first.low, first.high) == pytest.approx((-second.high, -second.low))


@given(Differences, st.integers(1, 4))
def test_persons_without_a_difference_change_no_p(differences: list[int], more: int) -> None:
    some = [float(one) for one in differences]
    few = paired_cluster_permutation(*of(some), resamples=200, seed=0)
    many = paired_cluster_permutation(*of(some + [0.0] * more), resamples=200, seed=0)
    assert few.p == many.p
    assert abs(many.difference) <= abs(few.difference)


@given(Differences)
def test_the_order_of_persons_changes_nothing_in_an_exact_test(differences: list[int]) -> None:
    some = [float(one) for one in differences[:12]]
    first, second = (paired_cluster_permutation(*of(one), resamples=200, seed=0) for one in (some, some[::-1]))
    assert first.exact
    assert first.p == second.p
