"""Correction of p values for having looked many times: with 20 comparisons one in 20 "significant" ones is expected."""

from __future__ import annotations

import math
from collections.abc import Sequence

from statsmodels.stats.multitest import multipletests


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Holm-Bonferroni adjusted p values, in the given order.

    The smallest of m p values is multiplied by m, the next by m - 1, and so on; none may fall below the one before it,
    none above 1. Calling those below 0.05 different keeps the chance of *any* false call at 5 %, however the tests
    depend on each other, and finds at least as much as Bonferroni (Holm 1979, Scand. J. Statist. 6: 65-70).

    A comparison that could not be tested (None) stays None and does not count among the m: it made no claim.
    """
    tested = [p for p in ps if p is not None]
    if any(math.isnan(p) or not 0 <= p <= 1 for p in tested):
        raise ValueError("p values are between 0 and 1")
    if not tested:
        return [None for _ in ps]
    adjusted = iter(float(p) for p in multipletests(tested, method="holm")[1])
    return [None if p is None else next(adjusted) for p in ps]
