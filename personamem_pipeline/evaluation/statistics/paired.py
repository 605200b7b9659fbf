"""Tests of two systems that answered the same questions of the same persons.

Pairing removes what both systems share (hard questions, hard persons), so a paired test sees differences far smaller
than two overlapping intervals suggest. What remains clustered is the difference itself, so persons are exchanged whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats import contingency_tables

from personamem_pipeline.evaluation.statistics.clusters import Floats, Totals, cluster_bootstrap_mean
from personamem_pipeline.seeds import stable_int

EXACT_CLUSTERS = 14
"""Up to this many clusters all 2^G sign patterns (16,384) are enumerated."""
EXACT_PAIRS = 25
"""Below this many discordant pairs McNemar's test is taken from the binomial: the usual rule of thumb."""
_BLOCK = 4096


@dataclass(frozen=True)
class PairedTest:
    """The outcome of a paired test of a against b: `difference` is mean(a) - mean(b)."""

    difference: float
    low: float | None
    high: float | None
    p: float | None
    """Two-sided, of the clustered permutation test; None with fewer than two clusters."""
    clusters: int
    exact: bool
    n: int
    mcnemar_p: float | None
    """McNemar's, which takes all answers as independent; None without per-answer values or with one cluster only."""


def paired_cluster_permutation(
    a: Totals,
    b: Totals,
    *,
    resamples: int,
    seed: int,
    correct_a: Sequence[bool] | None = None,
    correct_b: Sequence[bool] | None = None,
) -> PairedTest:
    """Two-sided paired permutation test of two systems that answered the same questions of the same persons.

    If the systems did not differ, which of a person's two totals belongs to which system would be a coin toss. So the
    sign of each person's difference of totals is flipped at random and the p value is the share of flips whose summed
    difference is at least as large, in absolute value, as the observed one (Fisher 1935; for clusters: Gail et al.
    1996). Persons whose difference is 0 change nothing. Sums that tie count
    as "as large", so p is, if anything, too large. All sign patterns are enumerated for up to `EXACT_CLUSTERS`
    persons with a difference; above, `resamples` are drawn and p = (hits + 1) / (resamples + 1), which is valid where
    hits / resamples is not (Phipson & Smyth 2010). The interval is the cluster bootstrap's, of the difference.

    `correct_a` and `correct_b`, one value per answer in the same order, add McNemar's p beside it.
    """
    if a.names != b.names or not np.array_equal(a.counts, b.counts):
        raise ValueError("a paired test needs the same answered questions of the same persons on both sides")
    if (correct_a is None) != (correct_b is None):
        raise ValueError("McNemar's test needs the answers of both sides")
    difference = Totals(a.names, a.sums - b.sums, a.counts)
    persons = difference.clusters
    interval = cluster_bootstrap_mean(difference, resamples=resamples, seed=seed)
    low, high = (interval.low, interval.high) if interval else (None, None)
    moved = difference.sums[difference.sums != 0]
    exact = len(moved) <= EXACT_CLUSTERS
    p = mcnemar_p = None
    if persons > 1:
        p = _exact(moved) if exact else _monte_carlo(moved, resamples, seed)
        mcnemar_p = None if correct_a is None or correct_b is None else mcnemar(correct_a, correct_b)
    return PairedTest(difference.mean, low, high, p, persons, exact, int(a.counts.sum()), mcnemar_p)


def mcnemar(correct_a: Sequence[bool], correct_b: Sequence[bool]) -> float | None:
    """Two-sided p value of McNemar's test (1947) of two systems' right and wrong answers to the same questions.

    Only *discordant* pairs, which one system got right and the other wrong, speak: without a difference each falls to
    either side with probability 1/2. Exact (binomial) below `EXACT_PAIRS` of them; above, chi-squared of one degree of
    freedom with Edwards' (1948) continuity correction. Without a discordant pair p is 1; without an answer None.

    **It ignores that a person's answers hang together**, so on a benchmark with many questions per person its p is too
    small. It stands beside the clustered test for readers who expect it, and decides nothing.
    """
    first, second = np.asarray(correct_a, dtype=np.bool_), np.asarray(correct_b, dtype=np.bool_)
    if first.shape != second.shape:
        raise ValueError(f"{len(first)} answers on one side, {len(second)} on the other")
    if not len(first):
        return None
    gained, lost = int((first & ~second).sum()), int((~first & second).sum())
    table = [[int((first & second).sum()), gained], [lost, int((~first & ~second).sum())]]
    return float(contingency_tables.mcnemar(table, exact=gained + lost < EXACT_PAIRS, correction=True).pvalue)


def _exact(moved: Floats) -> float:
    patterns = np.arange(2 ** len(moved), dtype=np.int64)[:, None] >> np.arange(len(moved), dtype=np.int64) & 1
    return float(np.mean(_at_least(patterns.astype(np.float64) * 2 - 1, moved)))


def _monte_carlo(moved: Floats, resamples: int, seed: int) -> float:
    generator = np.random.default_rng(stable_int(seed, "sign flips", len(moved), resamples))
    hits = 0
    for start in range(0, resamples, _BLOCK):
        size = min(_BLOCK, resamples - start)
        flips = generator.integers(0, 2, size=(size, len(moved)), dtype=np.int8).astype(np.float64) * 2 - 1
        hits += int(_at_least(flips, moved).sum())
    return (hits + 1) / (resamples + 1)


def _at_least(signs: Floats, moved: Floats) -> NDArray[np.bool_]:
    # The tolerance keeps the observed pattern itself, and exact ties, on the "at least as large" side after rounding.
    observed = abs(float(moved.sum())) - 1e-9 * max(1.0, float(np.abs(moved).sum()))
    at_least: NDArray[np.bool_] = np.abs(signs @ moved) >= observed
    return at_least
