"""How far judges agree: with each other, and with people.

Graded scores are compared by Krippendorff's alpha at the interval level (0.4 and 0.5 are near, 0 and 1 are not), outcomes
(score from the threshold on) by Cohen's kappa and plain agreement. An unknown figure is None: one judge agrees with
nobody, and judges who call everything right have shown nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from personamem_pipeline.evaluation.statistics.agreement import cohens_kappa, krippendorff_alpha

Column = Sequence[float | None]
"""One judge's scores of all items; None where there is no verdict."""


def between_judges(scores: Mapping[str, Column], threshold: float) -> dict[str, Any]:
    """Krippendorff's alpha over all judges, and kappa of every pair, named `a and b`."""
    return {
        "alpha": krippendorff_alpha(list(scores.values())),
        "kappa": {
            f"{a} and {b}": cohens_kappa(outcomes(scores[a], threshold), outcomes(scores[b], threshold))
            for a, b in combinations(scores, 2)
        },
    }


def against_people(scores: Mapping[str, Column], people: Mapping[str, Column], threshold: float) -> dict[str, Any]:
    """Judges against human annotators on the same items, of which each has at least one human score.

    The human score of an item is the mean of those who scored it. `alpha` is that of the panel's mean (None unless every
    judge gave a verdict) with the human score; `alpha_judges`, `kappa` and `agreement` are each judge's alone, and
    `alpha_people` is the annotators' among themselves: no judge can be expected to agree better with them than they do.
    """
    human = [fmean(_known(column[item] for column in people.values())) for item in range(_length(people))]
    panel = [
        fmean(given) if len(given := _known(row)) == len(row) else None for row in zip(*scores.values(), strict=True)
    ]
    return {
        "n": len(human),
        "annotators": len(people),
        "alpha": krippendorff_alpha([panel, human]),
        "alpha_people": krippendorff_alpha(list(people.values())),
        "alpha_judges": {judge: krippendorff_alpha([column, human]) for judge, column in scores.items()},
        "kappa": {
            judge: cohens_kappa(outcomes(column, threshold), outcomes(human, threshold))
            for judge, column in scores.items()
        },
        "agreement": {judge: agreement(column, human, threshold) for judge, column in scores.items()},
    }


def agreement(a: Column, b: Column, threshold: float) -> float | None:
    """Share of the items that both scored on which they say the same outcome; None without such an item."""
    pairs = zip(outcomes(a, threshold), outcomes(b, threshold), strict=True)
    both = [one == other for one, other in pairs if one is not None and other is not None]
    return fmean(both) if both else None


def outcomes(scores: Column, threshold: float) -> list[float | None]:
    """1 from the threshold on, else 0; None stays None."""
    return [None if score is None else float(score >= threshold) for score in scores]


def _known(scores: Any) -> list[float]:
    return [score for score in scores if score is not None]


def _length(columns: Mapping[str, Column]) -> int:
    return len(next(iter(columns.values()), ()))
