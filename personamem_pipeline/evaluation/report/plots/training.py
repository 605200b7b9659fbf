"""Figures of the trainings behind the report: curves as logged, and several seeds side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from personamem_pipeline.evaluation.report.plots.style import CHANCE, COLOURS, FAINT, drawing, share_axis


def curve(points: Sequence[tuple[int, float]], *, label: str, colour: str) -> Figure:
    """One training curve as it was logged; with many points a centred mean over a tenth of them on top."""
    steps, values = [point[0] for point in points], [point[1] for point in points]
    half = len(values) // 20
    smooth = [fmean(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]
    with drawing(4.4, 2.6) as figure:
        axes = figure.add_subplot()
        axes.plot(steps, values, color=colour, linewidth=1.0, alpha=0.35 if half else 1.0)
        if half:
            axes.plot(steps, smooth, color=colour, linewidth=1.8)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel(label)
        axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.6)
        return figure


def seeds(summary: Mapping[str, Any]) -> Figure:
    """SFT and GRPO of each training seed, joined by a line."""
    with drawing(4.4, 2.6) as figure:
        axes = figure.add_subplot()
        for index, run in enumerate(summary["runs"]):
            axes.plot([index, index], [run["sft"], run["grpo"]], color=FAINT, linewidth=1.5, zorder=1)
            for name in ("sft", "grpo"):
                axes.plot(index, run[name], "o", color=COLOURS[name], label=name if index == 0 else None)
        axes.set_xticks(range(len(summary["runs"])), [f"seed {run['seed']}" for run in summary["runs"]])
        axes.set_xlim(-0.6, len(summary["runs"]) - 0.4)
        axes.axhline(CHANCE, color=FAINT, linestyle=":", linewidth=1)
        axes.set_ylabel("accuracy")
        share_axis(axes, upright=True, chance=False)
        axes.legend(frameon=False, loc="lower right", ncols=2, bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)
        return figure
