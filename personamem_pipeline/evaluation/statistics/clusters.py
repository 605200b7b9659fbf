"""Means of answers that come in clusters, and their intervals: several questions of one person are not independent.

A person whose memory was written badly loses all of their questions at once, so the persons, not the questions, are the
sample. With m questions per person and an intra-person correlation rho the variance of a mean is 1 + (m - 1) rho times
that of independent answers (the *design effect*, Kish 1965); an interval that ignores it is too narrow. Everything here
therefore works on per-person totals: the sum of a person's values and their number.

Two intervals of any mean or difference stand here, the cluster bootstrap and the sandwich; `shares` has a third, for
shares near 0 or 1. One person has no between-person spread, so every interval of fewer than two persons is None.
Functions are pure; randomness is a numpy generator seeded by `seeds.stable_int`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from personamem_pipeline.seeds import stable_int

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A confidence interval: its ends, the share of repetitions it promises to cover, and from how many persons."""

    low: float
    high: float
    level: float
    clusters: int


@dataclass(frozen=True, eq=False)
class Totals:
    """Per-cluster sums and counts of values, one row per name."""

    names: tuple[str, ...]
    sums: Floats
    counts: Floats

    @property
    def mean(self) -> float:
        """The mean over all values (not over clusters). Raises ValueError without a value."""
        if not self.counts.sum():
            raise ValueError("the mean of no values")
        return float(self.sums.sum() / self.counts.sum())

    @property
    def clusters(self) -> int:
        """The number of clusters that have a value."""
        return int(np.count_nonzero(self.counts))


def totals(values: Sequence[float], clusters: Sequence[str], names: Sequence[str] | None = None) -> Totals:
    """Sum and count the values of each cluster, in the order of the sorted names.

    `names` fixes the clusters and their order; one without values gets count 0.
    """
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values but {len(clusters)} cluster names")
    ordered = tuple(sorted(set(clusters))) if names is None else tuple(names)
    position = {name: index for index, name in enumerate(ordered)}
    rows = np.array([position[name] for name in clusters], dtype=np.intp)
    sums = np.bincount(rows, weights=np.asarray(values, dtype=np.float64), minlength=len(ordered)).astype(np.float64)
    return Totals(ordered, sums, np.bincount(rows, minlength=len(ordered)).astype(np.float64))


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


def cluster_sandwich_se(data: Totals) -> float | None:
    """Cluster-robust (sandwich) standard error of the mean.

    With e_g the sum of the residuals of cluster g, N values and G clusters: `sqrt(G / (G - 1) * sum_g e_g^2) / N`, the
    CR1 estimator for a regression on a constant (Liang & Zeger 1986; Cameron & Miller 2015, "A practitioner's guide to
    cluster-robust inference", eq. 11-12). It assumes nothing about how answers of one person depend on each other.
    None for fewer than two clusters with values.
    """
    if data.clusters < 2:
        return None
    residuals = data.sums - data.counts * data.mean
    correction = data.clusters / (data.clusters - 1)
    return float(np.sqrt(correction * np.square(residuals).sum()) / data.counts.sum())


def sandwich_interval(data: Totals, level: float = 0.95) -> Interval | None:
    """The mean plus and minus the sandwich standard error times Student's t of G - 1 degrees of freedom.

    The t, not the normal, quantile because the error is itself estimated from G persons (Cameron & Miller 2015,
    sec. VI, few clusters). It is symmetric and knows no bounds: near 0 or 1 use `shares.share_interval`, which stays
    within them and covers better. A width of 0 (all persons have the same mean) says that no spread was seen, not that
    there is none.
    None for fewer than two clusters with values.
    """
    error = cluster_sandwich_se(data)
    if error is None:
        return None
    reach = float(stdtrit(data.clusters - 1, (1 + level) / 2)) * error
    return Interval(data.mean - reach, data.mean + reach, level, data.clusters)


def cluster_bootstrap_mean(
    data: Totals, *, resamples: int, seed: int, level: float = 0.95, minus: Totals | None = None
) -> Interval | None:
    """Expanded percentile interval of a mean by the cluster bootstrap.

    Whole persons are drawn with replacement, as many as there are, and the mean over all their values is taken again
    (pairs cluster bootstrap; Efron & Tibshirani 1993, ch. 13; Cameron, Gelbach & Miller 2008). The plain percentile
    interval, the middle `level` of those means, is too narrow with few persons: it lacks both the G / (G - 1) of a
    variance estimate and Student's t. So the tails are taken at `Phi(-sqrt(G / (G - 1)) t)`, with t the quantile of
    G - 1 degrees of freedom (Hesterberg 2015, "What teachers should know about the bootstrap", The American Statistician
    69: 371-386), which makes it as wide as the t interval where the means are normal, and keeps what is good about
    percentiles: it follows skewness and never leaves the range of the values. Where every person has the same mean,
    resampling sees no spread and the width is 0; near that, for shares, `shares.share_interval` covers better.

    With `minus`, a second quantity of the same persons (say, accuracy on another type of question), the interval is
    that of mean(data) - mean(minus), both from the same drawn persons; G is then the smaller number of persons with
    values on either side, and resamples that drew no value of a side are left out. None if G is below two.
    """
    sides = [data] if minus is None else [data, minus]
    if any(side.names != data.names for side in sides):
        raise ValueError("the two quantities must have the same clusters")
    groups = min(side.clusters for side in sides)
    if groups < 2:
        return None
    # Sorted names: the order in which persons happen to be listed must not decide which of them a draw means.
    seen = [row for row in np.argsort(np.array(data.names)) if any(side.counts[row] for side in sides)]
    weights = _weights(len(seen), resamples, seed)
    columns = weights @ np.stack([column[seen] for side in sides for column in (side.sums, side.counts)], axis=1)
    columns = columns[(columns[:, 1::2] > 0).all(axis=1)]
    means = columns[:, 0::2] / columns[:, 1::2]
    estimates = means[:, 0] if minus is None else means[:, 0] - means[:, 1]
    tail = float(ndtr(np.sqrt(groups / (groups - 1)) * stdtrit(groups - 1, (1 - level) / 2)))
    low, high = np.quantile(estimates, [tail, 1 - tail])
    return Interval(float(low), float(high), level, groups)


@lru_cache(maxsize=8)
def _weights(groups: int, resamples: int, seed: int) -> Floats:
    """How often each resample drew each cluster; a report asks for the same few shapes hundreds of times."""
    generator = np.random.default_rng(stable_int(seed, "cluster bootstrap", groups, resamples))
    drawn = generator.integers(0, groups, size=(resamples, groups))
    drawn += groups * np.arange(resamples)[:, None]  # one bin per resample and cluster, counted in one go
    weights = np.bincount(drawn.ravel(), minlength=resamples * groups).reshape(resamples, groups).astype(np.float64)
    weights.setflags(write=False)
    return weights
