"""Simulated benchmarks: persons who differ, with unequal numbers of questions, and a truth that is known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from personamem_pipeline.evaluation.statistics.clusters import Totals

MONTE_CARLO = 2_500
"""Simulations per figure: a share of 95 % is then known to 0.44 points (one standard error)."""


def people(number: int) -> tuple[str, ...]:
    return tuple(f"p{index:03d}" for index in range(number))


def benchmarks(
    persons: int, share: float, correlation: float, seed: int, number: int = MONTE_CARLO
) -> Iterator[Totals]:
    """Beta-binomial persons of 2 to 30 questions; two answers of a person correlate by `correlation`."""
    generator = np.random.default_rng(seed)
    spread = 1 / correlation - 1
    counts = generator.integers(2, 31, size=(number, persons))
    right = generator.binomial(counts, generator.beta(share * spread, (1 - share) * spread, size=counts.shape))
    names = people(persons)
    for sums, answers in zip(right.astype(float), counts.astype(float), strict=True):
        yield Totals(names, sums, answers)


def comparisons(persons: int, difference: float, seed: int, number: int) -> Iterator[tuple[Totals, Totals]]:
    """Two systems on the same persons: each has abilities of its own per person, and a is better by `difference`.

    10 to 40 questions per person; the released benchmark has 25 on average.
    """
    generator = np.random.default_rng(seed)
    counts = generator.integers(10, 41, size=(number, persons))
    easy = generator.uniform(0.3, 0.6, size=counts.shape)
    a, b = (
        generator.binomial(counts, easy + generator.uniform(-0.2, 0.2, size=counts.shape) + shift)
        for shift in (difference, 0)
    )
    names = people(persons)
    for first, second, answers in zip(a.astype(float), b.astype(float), counts.astype(float), strict=True):
        yield Totals(names, first, answers), Totals(names, second, answers)
