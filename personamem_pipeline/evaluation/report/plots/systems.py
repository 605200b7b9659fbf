"""Figures over all systems: accuracies with intervals, and the letters that systems pick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from personamem_pipeline.evaluation.report.plots.style import (
    CHANCE,
    FAINT,
    INK,
    colour,
    drawing,
    rows_axis,
    share_axis,
    whisker,
    words,
    wrapped,
)

ROLES = ("model", "control", "baseline", "external", "guesser")
_COLUMNS, _NARROW_COLUMNS = 4, 3


def headline(results: Mapping[str, Any], *, narrow: bool = False) -> Figure:
    """Accuracy of every system with its interval, roles apart, chance as a line."""
    systems = sorted(results["systems"], key=lambda system: ROLES.index(system["role"]))[::-1]
    with drawing(7.2, (0.36 if narrow else 0.3) * len(systems) + 0.9, narrow=narrow) as figure:
        axes = figure.add_subplot()
        for row, system in enumerate(systems):
            if row and systems[row - 1]["role"] != system["role"]:
                axes.axhline(row - 0.5, color=FAINT, alpha=0.5, linewidth=0.7)
            whisker(axes, row, system, colour(system))
            at, size = (1.02, row), 8 if narrow else 9
            axes.annotate(
                f"{system['accuracy']:.1%}", at, xycoords=("axes fraction", "data"), va="center", fontsize=size
            )
        rows_axis(axes, [system["label"] for system in systems], narrow=narrow)
        share_axis(axes)
        axes.set_xlim(0, 1)
        axes.set_xlabel(wrapped("accuracy, multiple choice, with 95 % interval over persons", narrow))
        return figure


def letters(results: Mapping[str, Any], *, narrow: bool = False) -> Figure | None:
    """Small multiples: how often each system that reads picks each letter, beside a quarter."""
    systems = [s for s in results["systems"] if s["role"] != "guesser" and s["letters_picked"]]
    if not systems:
        return None
    names = sorted({letter for system in systems for letter in system["letters_picked"]})
    columns = _NARROW_COLUMNS if narrow else _COLUMNS
    lines = -(-len(systems) // columns)
    top = 1.1 * max(0.3, *(share for system in systems for share in system["letters_picked"].values()))
    with drawing(7.2, (1.1 if narrow else 1.35) * lines + 0.3, narrow=narrow) as figure:
        for place, system in enumerate(systems):
            axes = figure.add_subplot(lines, columns, place + 1)
            shares = [system["letters_picked"].get(letter, 0.0) for letter in names]
            axes.bar(range(len(names)), shares, color=colour(system), width=0.72)
            axes.axhline(CHANCE, color=INK, linestyle=":", linewidth=1)
            axes.set_ylim(0, top)
            axes.set_xticks(range(len(names)), names, fontsize=8)
            axes.tick_params(length=0)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
            axes.set_title(
                _short(system["label"], 17 if narrow else 21), fontsize=7 if narrow else 8, loc="left", pad=3
            )
        figure.subplots_adjust(hspace=0.55, wspace=0.15)
        return figure


def _short(label: str, most: int) -> str:
    label = words(label)
    return label if len(label) <= most else label[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
