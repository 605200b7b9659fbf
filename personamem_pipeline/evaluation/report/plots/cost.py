"""Figures of what answers cost: accuracy against tokens, tokens against questions per person, how full memories are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from personamem_pipeline.evaluation.report.plots.style import (
    FAINT,
    INK,
    MARKERS,
    by_name,
    colour,
    drawing,
    legend_beside,
    rows_axis,
    share_axis,
    wrapped,
)

Point = tuple[float, float, Mapping[str, Any]]
Box = tuple[float, float, float, float]
"""Left, right, bottom, top."""


def frontier(results: Mapping[str, Any], *, narrow: bool = False) -> Figure | None:
    """Accuracy against all tokens per question, writing included; one memory agent at several caps is one line. `narrow`:
    the systems are numbered, and named below."""
    systems = by_name(results)
    points: list[Point] = [
        (row["tokens_per_question"], systems[row["system"]]["accuracy"], systems[row["system"]])
        for row in results["ledger"]
        if row["tokens_per_question"]
    ]
    if not points:
        return None
    with drawing(7.2, 3.6 if narrow else 4.5, narrow=narrow) as figure:
        axes = figure.add_subplot()
        axes.set_xscale("log")
        left, right = min(p[0] for p in points), max(p[0] for p in points)
        axes.set_xlim(left / 1.6, right * 1.6)
        axes.set_ylim(0, min(1.0, max(p[1] for p in points) + 0.12))
        for line in cap_lines(results):
            axes.plot([x for x, _ in line], [y for _, y in line], color=FAINT, linewidth=1.4, zorder=1)
        for x, y, system in points:
            if system["low"] is not None:
                axes.plot([x, x], [system["low"], system["high"]], color=colour(system), linewidth=1.2, alpha=0.45)
            axes.plot(x, y, "o", color=colour(system), markersize=6.5)
        numbers = {system["name"]: str(at) for at, (_, _, system) in enumerate(points, start=1)}
        _label(axes, points, numbers if narrow else {system["name"]: system["label"] for _, _, system in points})
        share_axis(axes, upright=True)
        axes.set_ylabel("accuracy")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        said = wrapped("tokens per question, writing and reading, input and output (log scale)", narrow)
        if narrow:
            said += "\n\n" + "\n".join(f"{numbers[system['name']]}  {system['label']}" for _, _, system in points)
        axes.set_xlabel(said, loc="left" if narrow else "center", multialignment="left" if narrow else "center")
        return figure


def cap_lines(results: Mapping[str, Any]) -> list[list[tuple[float, float]]]:
    """(tokens, accuracy) of systems that are one model's own memory at several caps, by rising cap."""
    systems, lines = by_name(results), dict[str, list[tuple[float, float, float]]]()
    for row in results["ledger"]:
        system = systems[row["system"]]
        if system["reading"] == "memory" and row["memory"] and row["tokens_per_question"]:
            point = (row["memory"]["cap"] or 0, row["tokens_per_question"], system["accuracy"])
            lines.setdefault(str(system["model"]), []).append(point)
    return [[(x, y) for _, x, y in sorted(line)] for line in lines.values() if len(line) > 1]


def _label(axes: Axes, points: Sequence[Point], names: Mapping[str, str]) -> None:
    """Names beside the points, right of them where there is room, else left or further up or down with a fine line."""
    dots = [axes.transData.transform((x, y)) for x, y, _ in points]
    taken = [(x - 5, x + 5, y - 5, y + 5) for x, y in dots]
    for (x, _), (_, _, system) in zip(dots, points, strict=True):
        if system["low"] is not None:
            ends = [axes.transData.transform((1, system[end]))[1] for end in ("low", "high")]
            taken.append((x - 1, x + 1, ends[0], ends[1]))
    edge = axes.transAxes.transform((0, 0))[0]
    steps = sorted((11.0 * step * sign for step in range(10) for sign in (1, -1)), key=abs)
    for (x, y), (tokens, share, system) in sorted(zip(dots, points, strict=True), key=lambda item: -item[0][1]):
        name = names[system["name"]]
        width = 5.7 * len(name)
        boxes = [
            (start, start + width, y + step - 5.5, y + step + 5.5)
            for step in steps
            for start in (x + 9, x - 9 - width)
            if start > edge + 4
        ]
        box = next((box for box in boxes if not any(_overlap(box, other) for other in taken)), boxes[0])
        taken.append(box)
        left, middle = box[0] < x, (box[2] + box[3]) / 2
        scale = 72 / axes.figure.dpi
        axes.annotate(
            name, (tokens, share), xytext=((-9 if left else 9) * scale, (middle - y) * scale),
            textcoords="offset points", fontsize=8, va="center", ha="right" if left else "left", color=INK,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.6, "shrinkA": 0} if abs(middle - y) > 9 else None,
        )  # fmt: skip


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


def break_even(results: Mapping[str, Any], *, narrow: bool = False, most: int = 100) -> Figure | None:
    """All tokens spent on a person against the number of questions asked: a memory is paid once, a chat every time."""
    systems = by_name(results)
    rows = [
        row for row in results["ledger"] if row["tokens_per_question"] and systems[row["system"]]["role"] != "control"
    ]
    rows = [row for row in rows if systems[row["system"]]["name"] not in ("base", "sft")][: len(MARKERS)]
    if len(rows) < 2:
        return None
    asked = [1, 2, 3, 5, 8, 12, 20, 30, 50, most]
    with drawing(6.4, 3.2, narrow=narrow) as figure:
        axes = figure.add_subplot()
        for place, row in enumerate(rows):
            system = systems[row["system"]]
            each = row["read_input_tokens_per_question"] + row["read_output_tokens_per_question"]
            spent = [(row["write_tokens_per_person"] or 0) + each * number for number in asked]
            axes.plot(asked, spent, marker=MARKERS[place], markersize=4, linewidth=1.4, color=colour(system),
                      linestyle="-" if system["role"] == "model" else "--", label=system["label"])  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(asked, [str(number) for number in asked], fontsize=8)
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlabel("questions about one person")
        axes.set_ylabel("tokens spent on the person")
        axes.grid(color=FAINT, alpha=0.25, linewidth=0.6)
        legend_beside(axes, narrow)
        return figure


def memory_sizes(results: Mapping[str, Any], *, narrow: bool = False) -> Figure | None:
    """Final memories, in tokens: from the smallest to the largest, the middle half, the median, and the cap."""
    systems = by_name(results)
    rows = [row for row in reversed(results["ledger"]) if row["memory"] and row["memory"]["quantiles"]]
    if not rows:
        return None
    with drawing(6.4, (0.4 if narrow else 0.34) * len(rows) + 0.9, narrow=narrow) as figure:
        axes = figure.add_subplot()
        for place, row in enumerate(rows):
            at, ink = row["memory"]["quantiles"], colour(systems[row["system"]])
            axes.plot([at["0"], at["100"]], [place, place], color=ink, linewidth=1)
            axes.plot([at["25"], at["75"]], [place, place], color=ink, linewidth=6, alpha=0.5, solid_capstyle="butt")
            axes.plot(at["50"], place, "o", color=ink, markersize=6)
            if row["memory"]["cap"]:
                axes.plot(row["memory"]["cap"], place, "|", color=INK, markersize=14, markeredgewidth=1.6)
        axes.set_xlim(left=0)
        rows_axis(axes, [systems[row["system"]]["label"] for row in rows], narrow=narrow)
        axes.grid(axis="x", color=FAINT, alpha=0.25, linewidth=0.6)
        axes.set_xlabel(wrapped("tokens of the final memory; the upright stroke is the cap", narrow))
        return figure
