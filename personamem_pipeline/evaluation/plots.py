"""Figures of the report: matplotlib on the Agg backend, each as SVG and PNG, the same bytes on every run.

Nothing here touches matplotlib's global state: figures are made as objects, so that plotting in one process cannot
change another plot. In the SVG that goes *into* the page, ink is `currentColor`, so it follows light and dark mode.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK = "#1f2933"
FAINT = "#9aa5b1"
COLOURS = {"base": "#8d99a6", "sft": "#d97706", "grpo": "#0d9488", "oracle": "#7c3aed"}
CHANCE = 0.25
_STYLE: dict[str, Any] = {
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


def headline(results: Mapping[str, Any]) -> Figure:
    """Accuracy of every system with its interval, chance as a line."""
    systems = list(reversed(results["systems"]))
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(7.2, 0.36 * len(systems) + 0.9)
        for row, system in enumerate(systems):
            colour = COLOURS.get(system["name"], FAINT)
            _whisker(axes, row, system, colour)
            axes.annotate(
                f"{system['accuracy']:.1%}", (1.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=9
            )
        axes.set_yticks(range(len(systems)), [system["label"] for system in systems])
        _percent_axis(axes)
        axes.set_xlabel("accuracy, multiple choice (95 % interval over persons)")
        return figure


def by_type(results: Mapping[str, Any]) -> Figure:
    """Accuracy per question type for the three models."""
    names = [s["name"] for s in results["systems"] if s["role"] == "model"]
    rows = {name: {row["value"]: row for row in results["slices"][name]["type"]} for name in names}
    values = list(reversed(sorted({value for row in rows.values() for value in row})))
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(7.2, 0.62 * len(values) + 1.1)
        for offset, name in enumerate(names):
            shift = (len(names) - 1) / 2 - offset
            for row, value in enumerate(values):
                if value in rows[name]:
                    _whisker(axes, row + 0.2 * shift, rows[name][value], COLOURS.get(name, FAINT), size=4.5)
            axes.plot([], [], "o", color=COLOURS.get(name, FAINT), label=name)
        axes.set_yticks(range(len(values)), [value.replace("_", " ") for value in values])
        _percent_axis(axes)
        axes.set_xlabel("accuracy by question type")
        axes.legend(frameon=False, loc="lower right", ncols=len(names), bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)
        return figure


def curve(points: Sequence[tuple[int, float]], *, label: str, colour: str) -> Figure:
    """One training curve as it was logged; with many points a centred mean over a tenth of them on top."""
    steps, values = [p[0] for p in points], [p[1] for p in points]
    half = len(values) // 20
    smooth = [_mean(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(4.4, 2.6)
        axes.plot(steps, values, color=colour, linewidth=1.0, alpha=0.35 if half else 1.0)
        if half:
            axes.plot(steps, smooth, color=colour, linewidth=1.8)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel(label)
        axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.6)
        return figure


def seeds(summary: Mapping[str, Any]) -> Figure:
    """SFT and GRPO of each training seed, joined by a line."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(4.4, 2.6)
        for index, run in enumerate(summary["runs"]):
            axes.plot([index, index], [run["sft"], run["grpo"]], color=FAINT, linewidth=1.5, zorder=1)
            for name in ("sft", "grpo"):
                axes.plot(index, run[name], "o", color=COLOURS[name], label=name if index == 0 else None)
        axes.set_xticks(range(len(summary["runs"])), [f"seed {run['seed']}" for run in summary["runs"]])
        axes.set_xlim(-0.6, len(summary["runs"]) - 0.4)
        axes.axhline(CHANCE, color=FAINT, linestyle=":", linewidth=1)
        axes.set_ylabel("accuracy")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.legend(frameon=False, loc="lower right", ncols=2, bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)
        return figure


def save(figure: Figure, directory: Path, name: str) -> None:
    """Write `<name>.svg` and `<name>.png`, without the dates and versions that would change their bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.svg").write_text(_svg(figure, name, transparent=False))
    figure.savefig(
        directory / f"{name}.png", dpi=144, bbox_inches="tight", facecolor="white", metadata={"Software": None}
    )


def inline_svg(figure: Figure, name: str, title: str) -> str:
    """The figure as an `<svg>` element for a page: ids of its own, ink in the page's text colour, and a title."""
    svg = _svg(figure, name, transparent=True)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="([^"]+)"', rf' id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg).replace(INK, "currentColor")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)


def _svg(figure: Figure, name: str, *, transparent: bool) -> str:
    buffer = io.BytesIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure.savefig(
            buffer, format="svg", bbox_inches="tight", transparent=transparent, metadata={"Date": None, "Creator": None}
        )
    return buffer.getvalue().decode()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _whisker(axes: Axes, row: float, value: Mapping[str, Any], colour: str, size: float = 6) -> None:
    if value["low"] is not None:
        axes.plot([value["low"], value["high"]], [row, row], color=colour, linewidth=2, solid_capstyle="round")
    axes.plot(value["accuracy"], row, "o", color=colour, markersize=size)


def _percent_axis(axes: Axes) -> None:
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.axvline(CHANCE, color=FAINT, linestyle=":", linewidth=1)
    axes.grid(axis="x", color=FAINT, alpha=0.25, linewidth=0.6)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
