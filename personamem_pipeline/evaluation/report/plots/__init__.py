"""The report's figures, each drawn from `results.json` alone; a figure whose figures are missing is not drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from personamem_pipeline.evaluation.curves import Points
from personamem_pipeline.evaluation.report.plots import cost, judged, slices, systems, training
from personamem_pipeline.evaluation.report.plots.style import COLOURS
from personamem_pipeline.evaluation.report.plots.svg import inline, publish

__all__ = ["figures", "inline", "publish"]
CURVES = {"sft loss": ("SFT loss (nats per target token)", "sft"), "grpo reward": ("GRPO mean reward", "grpo")}
_TABLE = "The same figures are in the table beside it."


def figures(
    results: Mapping[str, Any], curves: Mapping[str, Points], pooled: Mapping[str, Any] | None, *, narrow: bool = False
) -> dict[str, tuple[Figure, str]]:
    """Name -> (figure, what it shows in words), of all that can be drawn; `narrow`: for a phone."""
    how = {"narrow": narrow}
    drawn: dict[str, tuple[Figure | None, str]] = {
        "headline": (systems.headline(results, **how), f"Accuracy of every system with its interval. {_TABLE}"),
        "letters": (systems.letters(results, **how), f"How often each system picks each letter. {_TABLE}"),
        "by_type": (
            slices.by_type(results, **how),
            f"Accuracy by question type, with differences of GRPO and SFT. {_TABLE}",
        ),
        "gaps": (
            slices.gaps(results, **how),
            f"Accuracy on stereotypical and anti-stereotypical preferences. {_TABLE}",
        ),
        "forget": (slices.forget(results, **how), f"Recalled before and forgotten after a request to forget. {_TABLE}"),
        "distance": (slices.distance(results, **how), f"Accuracy by how far back the evidence lies. {_TABLE}"),
        "frontier": (cost.frontier(results, **how), f"Accuracy against tokens per question. {_TABLE}"),
        "break_even": (cost.break_even(results, **how), "Tokens spent on a person against questions asked."),
        "memory_sizes": (
            cost.memory_sizes(results, **how),
            f"Sizes of the final memories against their cap. {_TABLE}",
        ),
        "open_answers": (
            judged.open_answers(results, **how),
            f"Judged scores of open answers with intervals. {_TABLE}",
        ),
        "seeds": (training.seeds(pooled) if pooled else None, f"Accuracy of each training seed. {_TABLE}"),
    }
    for name, points in curves.items():
        label, stage = CURVES[name]
        drawn[name.replace(" ", "_")] = (
            training.curve(points, label=label, colour=COLOURS[stage]),
            f"{label} by step.",
        )
    return {name: (figure, said) for name, (figure, said) in drawn.items() if figure is not None}
