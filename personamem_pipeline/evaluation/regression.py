"""Whether a report is alarming: what its paired tests against the report before say, by the preset's bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from personamem_pipeline.evaluation.statistics.corrections import holm
from personamem_pipeline.presets import RegressionConfig


def regressions(changes: Mapping[str, Any], bounds: RegressionConfig) -> list[str]:
    """One line per watched system that fell by more than `drop` with a p value below `p`.

    `changes` is that part of a report's results. Both bounds must be broken: a large benchmark sees a drop of a tenth of a
    point, and a small one falls by three points by chance. p values are corrected (Holm) for the watched systems: nobody is
    woken by the others. A watched system that one of the two reports does not have cannot be compared and is told, too: it
    would never be missed otherwise.
    """
    tests = {test["system"]: test for test in changes["tests"]}
    compared = [tests[name] for name in bounds.systems if name in tests]
    lines = [f"{name} is not in both reports, so it cannot be compared" for name in bounds.systems if name not in tests]
    for test, p in zip(compared, holm([test["p"] for test in compared]), strict=True):
        if test["difference"] < -bounds.drop and p is not None and p < bounds.p:
            lines.append(
                f"{test['system']} fell by {-100 * test['difference']:.1f} points (p {p:.4f}, {test['clusters']} persons)"
            )
    return lines
