"""Figures over parts of the benchmark: types with their tests, the stereotype gap, forget pairs, evidence distance."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from personamem_pipeline.evaluation.report.plots.style import (
    FAINT,
    INK,
    MARKERS,
    by_name,
    colour,
    drawing,
    first_of_model,
    legend_beside,
    rows_axis,
    share_axis,
    whisker,
    words,
    wrapped,
)

_LINES = 6
"""Curves that one can tell apart in one figure."""


def by_type(results: Mapping[str, Any], *, narrow: bool = False) -> Figure | None:
    """Forest plot: the models' accuracy on each question type, and beside it what GRPO adds to SFT there."""
    sliced = {name for name, own in results["slices"].items() if own.get("type")}
    systems = first_of_model([s for s in results["systems"] if s["role"] == "model" and s["name"] in sliced])
    rows = {s["name"]: {row["value"]: row for row in results["slices"][s["name"]]["type"]} for s in systems}
    values = sorted({value for own in rows.values() for value in own}, reverse=True)
    if not values:
        return None
    tests = {test["value"]: test for test in results["type_tests"]}
    height = 0.6 * len(values) + 1.0
    with drawing(7.2 if tests else 5.4, 2 * height if narrow and tests else height, narrow=narrow) as figure:
        if not tests:
            left, right = figure.add_subplot(), None
        elif narrow:
            left, right = figure.subplots(2, 1, gridspec_kw={"hspace": 0.35})
        else:
            left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        for place, system in enumerate(systems):
            shift = 0.2 * ((len(systems) - 1) / 2 - place)
            for row, value in enumerate(values):
                if value in rows[system["name"]]:
                    whisker(left, row + shift, rows[system["name"]][value], colour(system), size=4.5)
            left.plot([], [], "o", color=colour(system), label=system["label"])
        rows_axis(left, [words(value) for value in values], narrow=narrow, above=0.44)
        share_axis(left)
        left.set_xlim(0, 1)
        left.set_xlabel("accuracy")
        left.legend(frameon=False, loc="lower left", ncols=len(systems), bbox_to_anchor=(0, 1), borderaxespad=0.2,
                    handletextpad=0.1, columnspacing=1.0)  # fmt: skip
        if right is not None:
            _differences(right, values, tests, narrow)
        return figure


def _differences(axes: Axes, values: Sequence[str], tests: Mapping[str, Mapping[str, Any]], narrow: bool) -> None:
    for row, value in enumerate(values):
        test = tests.get(value)
        if test is None:
            continue
        p = test["p_corrected"]
        clear = p is not None and p < 0.05
        whisker(axes, row, test, "#0d9488" if clear else FAINT, key="difference")
        said = "no test" if p is None else f"p {p:.3f}" if p >= 0.001 else "p < 0.001"
        axes.annotate(said, (1.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    rows_axis(axes, [words(value) if narrow else "" for value in values], narrow=narrow)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:+.0f}")
    axes.grid(axis="x", color=FAINT, alpha=0.25, linewidth=0.6)
    first = next(iter(tests.values()))
    axes.set_xlabel(f"{first['a']} minus {first['b']}, points")
    axes.set_title("p corrected over types (Holm)", fontsize=8, loc="right", pad=4)


def gaps(results: Mapping[str, Any], *, narrow: bool = False) -> Figure | None:
    """A dumbbell per system: accuracy on stereotypical and on anti-stereotypical preferences."""
    return _pairs(results, results["gaps"], ("stereotypical", "anti_stereotypical"), "accuracy", narrow)


def forget(results: Mapping[str, Any], *, narrow: bool = False) -> Figure | None:
    """A dumbbell per system over the forget pairs: used before the request, left alone after it."""
    rows = [row for row in results["forget"] if row["both"] is not None]
    return _pairs(results, rows, ("recalled_before", "forgotten_after", "both"), "share of pairs", narrow)


def _pairs(
    results: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], keys: tuple[str, ...], label: str, narrow: bool
) -> Figure | None:
    systems = by_name(results)
    rows = [row for row in reversed(rows) if systems[row["system"]]["role"] != "guesser"]
    rows = [row for row in rows if all(row[key] is not None for key in keys)]
    if not rows:
        return None
    with drawing(6.4, (0.4 if narrow else 0.34) * len(rows) + 1.1, narrow=narrow) as figure:
        axes = figure.add_subplot()
        for place, row in enumerate(rows):
            shares = [row[key] for key in keys]
            ink = colour(systems[row["system"]])
            axes.plot([min(shares), max(shares)], [place, place], color=ink, linewidth=2, alpha=0.45)
            for marker, face, share in zip("osD", (ink, "none", INK), shares, strict=False):
                axes.plot(share, place, marker, color=ink if face != INK else INK, markerfacecolor=face, markersize=6.5)
        for marker, face, key in zip("osD", (FAINT, "none", INK), keys, strict=False):
            edge = INK if face == INK else FAINT
            axes.plot([], [], marker, color=edge, markerfacecolor=face, label=words(key))
        rows_axis(axes, [systems[row["system"]]["label"] for row in rows], narrow=narrow)
        share_axis(axes)
        axes.set_xlim(0, 1)
        axes.set_xlabel(label)
        axes.legend(frameon=False, loc="lower left", ncols=len(keys), bbox_to_anchor=(0, 1), borderaxespad=0.2,
                    handletextpad=0.2, columnspacing=0.8 if narrow else 2.0)  # fmt: skip
        return figure


def distance(results: Mapping[str, Any], *, narrow: bool = False) -> Figure | None:
    """Accuracy against how far back the evidence lies, nearest bin first."""
    slices = {name: own.get("distance", []) for name, own in results["slices"].items()}
    shown = [s for s in results["systems"] if s["role"] in ("model", "baseline") and slices.get(s["name"])]
    systems = first_of_model(shown)[:_LINES]
    bins = sorted({row["value"] for s in systems for row in slices[s["name"]]}, key=bin_order)
    if len(bins) < 2:
        return None
    with drawing(6.4, 3.1, narrow=narrow) as figure:
        axes = figure.add_subplot()
        for place, system in enumerate(systems):
            rows = {row["value"]: row for row in slices[system["name"]]}
            known = [at for at, value in enumerate(bins) if value in rows]
            shift = 0.05 * (place - (len(systems) - 1) / 2)
            marker, ink = MARKERS[place % len(MARKERS)], colour(system)
            dashes = "-" if system["role"] == "model" else "--"
            values = [rows[bins[at]]["accuracy"] for at in known]
            axes.plot([at + shift for at in known], values, marker=marker, linestyle=dashes, color=ink, markersize=5,
                      linewidth=1.4, label=system["label"])  # fmt: skip
            for at in known:
                row = rows[bins[at]]
                if row["low"] is not None:
                    axes.plot([at + shift] * 2, [row["low"], row["high"]], color=ink, linewidth=1, alpha=0.4)
        names = [words(value).replace(" messages", "\nmessages") if narrow else words(value) for value in bins]
        axes.set_xticks(range(len(bins)), names, fontsize=8)
        axes.set_ylim(0, 1)
        share_axis(axes, upright=True)
        axes.set_xlabel(wrapped("how far back the evidence lies, quarters of the questions", narrow))
        axes.set_ylabel("accuracy")
        legend_beside(axes, narrow)
        return figure


def bin_order(value: str) -> tuple[int, int, str]:
    """Bins such as "0-41 messages" by their first number; those without one come last."""
    number = re.match(r"\d+", value)
    return (0, int(number[0]), value) if number else (1, 0, value)
