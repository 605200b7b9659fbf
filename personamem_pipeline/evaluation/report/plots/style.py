"""What all figures share: ink, colours of systems, axes of shares. No global state of matplotlib is touched.

Figures are made as objects on the Agg backend, so that plotting in one process cannot change another plot.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

System = Mapping[str, Any]
INK = "#1f2933"
FAINT = "#9aa5b1"
COLOURS = {"base": "#8d99a6", "sft": "#d97706", "grpo": "#0d9488"}
ROLE_COLOURS = {
    "model": "#0d9488",
    "control": "#8b5cf6",
    "baseline": "#3b82f6",
    "external": "#db2777",
    "guesser": "#8d99a6",
}
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
CHANCE = 0.25
STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "personamem",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
}

NARROW = 3.5
"""Inches of a figure for a phone: shown at its own size, so that its text is as large as it says."""
SMALL = {"font.size": 8.5, "axes.labelsize": 8, "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8}
WRAPPED = 44
"""Characters of a line of text under such a figure."""


@contextmanager
def drawing(width: float, height: float, *, narrow: bool = False) -> Iterator[Figure]:
    """An empty figure, in inches, under the house's style; `narrow`: as wide as a phone, whatever `width` says."""
    with matplotlib.rc_context({**STYLE, **(SMALL if narrow else {})}):
        figure = Figure(figsize=(NARROW if narrow else width, height))
        FigureCanvasAgg(figure)
        yield figure


def colour(system: System) -> str:
    """The three stages of training have colours of their own, everything else that of its role."""
    return COLOURS.get(str(system["name"])) or ROLE_COLOURS[str(system["role"])]


def by_name(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The results' systems by name, in the order in which they are shown."""
    return {system["name"]: system for system in results["systems"]}


def whisker(axes: Axes, row: float, value: Mapping[str, Any], ink: str, size: float = 6, key: str = "accuracy") -> None:
    """A dot with its interval; an open dot where there is no interval."""
    if value["low"] is not None:
        axes.plot([value["low"], value["high"]], [row, row], color=ink, linewidth=2, solid_capstyle="round")
    face = ink if value["low"] is not None else "none"
    axes.plot(value[key], row, "o", color=ink, markersize=size, markerfacecolor=face, clip_on=False)


def share_axis(axes: Axes, *, upright: bool = False, chance: bool = True) -> None:
    """Shares from 0 to 1 as percents, chance dotted."""
    axis = axes.yaxis if upright else axes.xaxis
    axis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if chance:
        (axes.axhline if upright else axes.axvline)(CHANCE, color=FAINT, linestyle=":", linewidth=1)
    axes.grid(axis="y" if upright else "x", color=FAINT, alpha=0.25, linewidth=0.6)


def rows_axis(axes: Axes, labels: Sequence[str], *, narrow: bool = False, above: float = 0.28) -> None:
    """Named rows without ticks and without a spine; `narrow`: the names stand `above` what they name."""
    axes.set_yticks(range(len(labels)), [""] * len(labels) if narrow else labels)
    axes.set_ylim(-0.6, len(labels) - (0.1 if narrow else 0.4))
    for row, label in enumerate(labels if narrow else ()):
        axes.annotate(label, (0, row + above), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def legend_beside(axes: Axes, narrow: bool) -> None:
    """A legend right of the axes, or under a narrow figure's."""
    at: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (0.0, -0.34) if narrow else (1.0, 1.0)}
    axes.legend(frameon=False, fontsize=8, **at)


def first_of_model(systems: Sequence[System]) -> list[System]:
    """Without a model's second and further memories (other caps), which would share its colour."""
    found: dict[tuple[str, str], System] = {}
    for system in systems:
        found.setdefault((str(system["reading"]), str(system["model"])), system)
    return list(found.values())


def wrapped(text: str, narrow: bool) -> str:
    """A label, broken into lines where the figure is narrow."""
    return textwrap.fill(text, WRAPPED) if narrow else text


def words(name: str) -> str:
    return name.replace("_", " ")
