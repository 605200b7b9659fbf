"""Do judges agree beyond chance? A score that depends on who gives it measures the judge, not the answer.

Plain agreement flatters: two judges who call 95 % of all answers right agree on 90 % of them by chance. Both statistics
here are 1 for perfect agreement, 0 for what chance gives, and below 0 for less than that. Both are *undefined*, and
returned as None, where chance itself is not known: with fewer than two raters or two items, and where all ratings are
the same. In that last case the judges agree on everything, but nothing shows that they can tell two answers apart;
1.0 would be a claim about their reliability, which the data cannot support.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import krippendorff
import numpy as np
from statsmodels.stats.inter_rater import cohens_kappa as kappa_of_table


def krippendorff_alpha(
    ratings: Sequence[Sequence[float | None]], level: Literal["interval", "nominal"] = "interval"
) -> float | None:
    """Krippendorff's alpha of judges x items, 1 - observed / expected disagreement; None in `ratings` is missing.

    Observed disagreement is that between ratings of one item, expected that between any two ratings at all; a pair of
    ratings disagrees by its squared difference (`interval`) or by 0 or 1 (`nominal`). Any number of judges; an item
    that fewer than two of them rated says nothing and is left out. Krippendorff (2019), "Content Analysis", 4th ed.,
    who asks for 0.8, and 0.667 for tentative conclusions.

    None: fewer than two judges, fewer than two items with two ratings, or no variation among their ratings. Work and
    memory grow with items times the square of the number of *different* ratings, so scores belong on a coarse scale.
    """
    table = np.array([[np.nan if rating is None else rating for rating in judge] for judge in ratings], dtype=float)
    if len(table) < 2:
        return None
    pairable = table[:, (~np.isnan(table)).sum(axis=0) > 1]
    if pairable.shape[1] < 2 or np.nanmin(pairable) == np.nanmax(pairable):
        return None
    return float(krippendorff.alpha(reliability_data=pairable, level_of_measurement=level))


def cohens_kappa(a: Sequence[str | float | None], b: Sequence[str | float | None]) -> float | None:
    """Cohen's kappa of two raters' labels of the same items, (observed - chance agreement) / (1 - chance agreement).

    Chance is what two raters with these shares of labels would agree on if they labelled independently (Cohen 1960).
    Unlike alpha it lets each rater have shares of their own. Items with a missing label (None) are left out.

    None: fewer than two items with both labels, or both raters gave one and the same label to all. If only one of them
    did, kappa is 0: the agreement is exactly what chance gives.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} labels of one rater, {len(b)} of the other")
    both = [(one, other) for one, other in zip(a, b, strict=True) if one is not None and other is not None]
    position = {label: index for index, label in enumerate(dict.fromkeys(label for pair in both for label in pair))}
    if len(both) < 2 or len(position) < 2:
        return None
    table = np.zeros((len(position), len(position)))
    for one, other in both:
        table[position[one], position[other]] += 1
    return float(kappa_of_table(table, return_results=False))
