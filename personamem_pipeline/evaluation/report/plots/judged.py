"""The figure of the open answers: judged means with their intervals, and how far missing verdicts could move them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from personamem_pipeline.evaluation.report.plots.style import (
    FAINT,
    by_name,
    colour,
    drawing,
    rows_axis,
    share_axis,
    whisker,
    wrapped,
)


def open_answers(results: Mapping[str, Any], *, narrow: bool = False) -> Figure | None:
    """Mean score of each system; a thin line reaches to what it were with all missing verdicts 0, or all 1."""
    systems = by_name(results)
    rows = [row for row in reversed(results["open"]) if row["mean"] is not None]
    if not rows:
        return None
    with drawing(6.4, (0.4 if narrow else 0.34) * len(rows) + 0.9, narrow=narrow) as figure:
        axes = figure.add_subplot()
        for place, row in enumerate(rows):
            if row["missing"] and row["lowest"] is not None:
                axes.plot([row["lowest"], row["highest"]], [place - 0.22] * 2, color=FAINT, linewidth=1.2)
            whisker(axes, place, row, colour(systems[row["system"]]), key="mean")
        rows_axis(axes, [systems[row["system"]]["label"] for row in rows], narrow=narrow)
        share_axis(axes, chance=False)
        axes.set_xlim(0, 1)
        axes.set_xlabel(wrapped("mean judged score, with 95 % interval over persons", narrow))
        return figure
