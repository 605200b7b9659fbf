from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from personamem_pipeline.evaluation.statistics.clusters import Totals, sandwich_interval, totals
from personamem_pipeline.evaluation.statistics.paired import paired_cluster_permutation
from personamem_pipeline.evaluation.statistics.power import detectable
from tests.evaluation.statistics.simulated import comparisons, people


def standardized(persons: int) -> Totals:
    """One question per person, whose differences have a standard deviation of exactly 1."""
    values = np.random.default_rng(0).normal(size=persons)
    return totals((values / values.std(ddof=1)).tolist(), people(persons))


@pytest.mark.parametrize(("effect", "persons"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_sample_sizes_of_cohens_effects(effect: float, persons: int) -> None:
    # Pairs for 80 % power at 5 %, two-sided, small, medium and large effect: what G*Power 3.1 gives.
    enough, fewer = (detectable(standardized(20), persons=count) for count in (persons, persons - 1))
    assert enough is not None and fewer is not None
    assert enough.difference <= effect < fewer.difference


@pytest.mark.parametrize("persons", [4, 10, 60, 200])
def test_agrees_with_statsmodels(persons: int) -> None:
    found = detectable(standardized(persons), power=0.9, level=0.02)
    theirs = TTestPower().solve_power(nobs=persons, alpha=0.02, power=0.9)
    assert found is not None
    assert found.difference == pytest.approx(theirs, rel=1e-4)
    assert (found.persons, found.sd, found.se) == (persons, pytest.approx(1), pytest.approx(persons**-0.5))


def test_both_tests_have_the_promised_power_at_that_difference() -> None:
    persons, pilots = 60, 200
    found = [detectable(Totals(a.names, a.sums - b.sums, a.counts)) for a, b in comparisons(persons, 0.0, 1, pilots)]
    difference = float(np.mean([one.difference for one in found if one is not None]))
    seen = {"permutation": 0, "t": 0}
    repetitions = 1500
    for number, (a, b) in enumerate(comparisons(persons, difference, seed=2, number=repetitions)):
        p = paired_cluster_permutation(a, b, resamples=199, seed=number).p
        interval = sandwich_interval(Totals(a.names, a.sums - b.sums, a.counts))
        assert p is not None
        assert interval is not None
        seen["permutation"] += p <= 0.05
        seen["t"] += not interval.low <= 0 <= interval.high
    assert 0.75 <= seen["permutation"] / repetitions <= 0.85
    assert 0.75 <= seen["t"] / repetitions <= 0.85


def test_correlated_answers_see_less_than_as_many_independent_ones() -> None:
    """Ten answers per person that all agree carry what one does: the design effect is 10."""
    values = stats.norm.ppf((np.arange(40) + 0.5) / 40)
    once = totals(values.tolist(), people(40))
    copied = Totals(once.names, 10 * once.sums, 10 * once.counts)
    alone = totals(np.repeat(values, 10).tolist(), people(400))
    first, second, third = (detectable(data) for data in (once, copied, alone))
    assert first is not None
    assert second is not None
    assert third is not None
    assert second.difference == pytest.approx(first.difference)
    assert third.difference == pytest.approx(first.difference / 10**0.5, rel=0.05)


def test_more_persons_like_these() -> None:
    data = standardized(30)
    here, twice = detectable(data), detectable(data, persons=60)
    assert here is not None
    assert twice is not None
    assert twice.se == pytest.approx(here.se / 2**0.5)
    assert twice.difference < here.difference / 2**0.5  # and the t is sharper, too


def test_unknown_spread_gives_no_figure() -> None:
    one_person = totals([1.0, 0.0], ["a", "a"], names=["a", "b"])
    no_difference = totals([0.0, 0.0, 0.0], ["a", "b", "c"])
    constant = totals([0.1] * 9, list("aabbbbccc"))
    for data in (one_person, no_difference, constant):
        assert detectable(data) is None
    assert detectable(standardized(5), persons=1) is None
