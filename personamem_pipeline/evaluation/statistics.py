"""Statistics for answers that come in clusters: several questions of one person are not independent.

A person whose memory was written badly loses all of their questions at once, so the persons, not the questions, are the
sample. With m questions per person and an intra-person correlation rho the variance of a mean is 1 + (m - 1) rho times
that of independent answers (the *design effect*, Kish 1965); an interval that ignores it is too narrow. Everything here
therefore works on per-person totals: the sum of a person's values and their number.

Functions are pure; randomness is a numpy generator seeded by `seeds.stable_int`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personamem_pipeline.seeds import stable_int

Floats = NDArray[np.float64]
EXACT_CLUSTERS = 14
"""Up to this many clusters all 2^G sign patterns (16,384) are enumerated."""
_BLOCK = 4096


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float
    level: float
    clusters: int


@dataclass(frozen=True)
class PairedTest:
    """The outcome of a paired test of a against b: `difference` is mean(a) - mean(b)."""

    difference: float
    low: float | None
    high: float | None
    p: float | None
    """Two-sided; None with fewer than two clusters."""
    clusters: int
    exact: bool
    n: int


@dataclass(frozen=True)
class Totals:
    """Per-cluster sums and counts, in the order of the sorted cluster names."""

    names: tuple[str, ...]
    sums: Floats
    counts: Floats

    @property
    def mean(self) -> float:
        """The mean over all values (not over clusters)."""
        return float(self.sums.sum() / self.counts.sum())


def totals(values: Sequence[float], clusters: Sequence[str], names: Sequence[str] | None = None) -> Totals:
    """Sum and count the values of each cluster. `names` fixes the clusters; one without values gets count 0."""
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values but {len(clusters)} cluster names")
    ordered = tuple(sorted(set(clusters))) if names is None else tuple(names)
    position = {name: index for index, name in enumerate(ordered)}
    rows = np.array([position[name] for name in clusters], dtype=np.intp)
    sums = np.bincount(rows, weights=np.asarray(values, dtype=np.float64), minlength=len(ordered)).astype(np.float64)
    return Totals(ordered, sums, np.bincount(rows, minlength=len(ordered)).astype(np.float64))


def cluster_sandwich_se(data: Totals) -> float | None:
    """Cluster-robust (sandwich) standard error of the mean.

    With e_g the sum of the residuals of cluster g, N values and G clusters: `sqrt(G / (G - 1) * sum_g e_g^2) / N`, the
    CR1 estimator for a regression on a constant (Liang & Zeger 1986; Cameron & Miller 2015, "A practitioner's guide to
    cluster-robust inference", eq. 11-12). Compare with a Student t of G - 1 degrees of freedom. None for one cluster.
    """
    groups = len(data.names)
    if groups < 2:
        return None
    residuals = data.sums - data.counts * data.mean
    return float(np.sqrt(groups / (groups - 1) * np.square(residuals).sum()) / data.counts.sum())


def cluster_bootstrap_mean(
    data: Totals, *, resamples: int, seed: int, level: float = 0.95, minus: Totals | None = None
) -> Interval | None:
    """Percentile interval of a mean by the cluster bootstrap.

    Whole persons are drawn with replacement, as many as there are, and the mean over all their values is taken again;
    the interval is the middle `level` of those means (pairs cluster bootstrap; Efron & Tibshirani 1993, ch. 13;
    Cameron, Gelbach & Miller 2008). Drawing G persons gives multinomial weights, so one matrix product does it all.

    With `minus`, a second quantity of the same persons (say, accuracy on another type of question), the interval is
    that of mean(data) - mean(minus), both from the same drawn persons. None for fewer than two clusters: one person has
    no between-person spread, and an interval would be made up.
    """
    groups = len(data.names)
    if groups < 2:
        return None
    if minus is not None and minus.names != data.names:
        raise ValueError("the two quantities must have the same clusters")
    generator = np.random.default_rng(stable_int(seed, "cluster bootstrap", groups, resamples))
    weights = generator.multinomial(groups, np.full(groups, 1.0 / groups), size=resamples).astype(np.float64)
    means = _means(weights, data) - (0.0 if minus is None else _means(weights, minus))
    tail = (1 - level) / 2
    low, high = np.nanquantile(means, [tail, 1 - tail])
    return Interval(float(low), float(high), level, groups)


def _means(weights: Floats, data: Totals) -> Floats:
    """One mean per resample; not a number where a resample drew no value at all (left out of the quantiles)."""
    counts = weights @ data.counts
    sums = weights @ data.sums
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def paired_cluster_permutation(a: Totals, b: Totals, *, resamples: int, seed: int) -> PairedTest:
    """Two-sided paired permutation test of two systems that answered the same questions of the same persons.

    If the systems did not differ, which of a person's two totals belongs to which system would be a coin toss. So the
    sign of each person's difference of totals is flipped at random and the p value is the share of flips whose summed
    difference is at least as large, in absolute value, as the observed one (Fisher 1935; for clusters: Gail et al.
    1996). Persons whose difference is 0 change nothing. All sign patterns are enumerated for up to `EXACT_CLUSTERS`
    persons with a difference; above, `resamples` are drawn and p = (hits + 1) / (resamples + 1), which is valid where
    hits / resamples is not (Phipson & Smyth 2010). The interval is the cluster bootstrap's, of the difference.
    """
    if a.names != b.names or not np.array_equal(a.counts, b.counts):
        raise ValueError("a paired test needs the same answered questions of the same persons on both sides")
    difference = Totals(a.names, a.sums - b.sums, a.counts)
    interval = cluster_bootstrap_mean(difference, resamples=resamples, seed=seed)
    moved = difference.sums[difference.sums != 0]
    exact = len(moved) <= EXACT_CLUSTERS
    p = None if len(a.names) < 2 else _exact(moved) if exact else _monte_carlo(moved, resamples, seed)
    low, high = (interval.low, interval.high) if interval else (None, None)
    return PairedTest(difference.mean, low, high, p, len(a.names), exact, int(a.counts.sum()))


def pool(runs: Sequence[Totals]) -> Totals:
    """Add up the same persons' totals over several training seeds.

    The seeds share the benchmark's persons, so a person's values of all seeds form *one* cluster; treating each seed's
    persons as new ones would count the same easy and hard persons several times over.
    """
    first = runs[0]
    if any(run.names != first.names for run in runs):
        raise ValueError("runs can be pooled only over the same persons")
    return Totals(
        first.names,
        np.sum([run.sums for run in runs], axis=0),
        np.sum([run.counts for run in runs], axis=0),
    )


def _exact(moved: Floats) -> float:
    patterns = np.arange(2 ** len(moved), dtype=np.int64)[:, None] >> np.arange(len(moved), dtype=np.int64) & 1
    return float(np.mean(_at_least(patterns.astype(np.float64) * 2 - 1, moved)))


def _monte_carlo(moved: Floats, resamples: int, seed: int) -> float:
    generator = np.random.default_rng(stable_int(seed, "sign flips", len(moved), resamples))
    hits = 0
    for start in range(0, resamples, _BLOCK):
        size = min(_BLOCK, resamples - start)
        flips = generator.integers(0, 2, size=(size, len(moved))).astype(np.float64) * 2 - 1
        hits += int(_at_least(flips, moved).sum())
    return (hits + 1) / (resamples + 1)


def _at_least(signs: Floats, moved: Floats) -> NDArray[np.bool_]:
    # The tolerance keeps the observed pattern itself, and exact ties, on the "at least as large" side after rounding.
    observed = abs(float(moved.sum())) - 1e-9 * max(1.0, float(np.abs(moved).sum()))
    at_least: NDArray[np.bool_] = np.abs(signs @ moved) >= observed
    return at_least
