"""What a benchmark can see: the smallest true difference between two systems that a paired test would find.

A report that calls a difference "not significant" says little unless it also says how large a difference would have
been. Both questions (how large with these persons, how many persons for this difference) have one answer: the power of
the paired t test on per-person differences, whose standard error already holds the cluster design effect.
"""

from __future__ import annotations

from dataclasses import dataclass

from scipy.special import ncfdtrinc, stdtrit

from personamem_pipeline.evaluation.statistics.clusters import Totals, cluster_sandwich_se

_NO_SPREAD = 1e-12
"""What rounding leaves of a standard error of 0."""


@dataclass(frozen=True)
class Detectable:
    """The smallest true difference of two means that `persons` persons show with probability `power`."""

    difference: float
    """In the values' unit: 0.03 is 3 points of accuracy."""
    se: float
    """Standard error that the paired difference has with that many persons."""
    sd: float
    """Standard deviation of a person's contribution: `se` times the root of the number of persons."""
    persons: int
    power: float
    level: float


def detectable(
    differences: Totals, power: float = 0.8, level: float = 0.05, *, persons: int | None = None
) -> Detectable | None:
    """The smallest true difference that a two-sided paired test at `level` finds with probability `power`.

    `differences` are the persons' summed differences of two systems' values (a - b) and their numbers of questions.
    Their cluster-robust standard error SE stands for the variance of the difference, with all correlation within
    persons in it: the design effect need not be guessed (Miller 2024, "Adding Error Bars to Evals", arXiv:2411.00640,
    recommends clustered errors and a statement of power for evaluations). With Student's t of G - 1 degrees of freedom
    the power at a true difference delta is that of the non-central t with non-centrality delta / SE (Cohen 1988,
    ch. 2). The permutation test of `paired` has nearly the same power (by simulation).

    `persons` asks for a benchmark of that many such persons, each with as many questions as here, instead of these.
    None for fewer than two persons with answers, or if no answer differs: a spread that was not seen is not known.
    """
    error = cluster_sandwich_se(differences)
    if error is None or error < _NO_SPREAD:
        return None
    sd = error * differences.clusters**0.5
    people = differences.clusters if persons is None else persons
    if people < 2:
        return None
    return Detectable(_standardized(people, power, level) * sd, sd / people**0.5, sd, people, power, level)


def _standardized(persons: int, power: float, level: float) -> float:
    """The detectable difference in standard deviations of a person's contribution (Cohen's d of paired data)."""
    # The square of a non-central t is a non-central F, whose non-centrality SciPy inverts; statsmodels' TTestPower
    # searches the same number, and with very few or very many persons stops beside it without saying so.
    critical = stdtrit(persons - 1, 1 - level / 2) ** 2
    return float((ncfdtrinc(1.0, persons - 1, 1 - power, critical) / persons) ** 0.5)
