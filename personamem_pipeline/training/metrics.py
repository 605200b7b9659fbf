"""Training curves: one JSON line per logged step, a picture, and the same points in MLflow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from personamem_pipeline.errors import UserError
from personamem_pipeline.stage_job import StageJob
from personamem_pipeline.training.mlflow_points import MlflowPoints
from personamem_pipeline.training.step_lines import Row, append, cut, read_lines

METRICS = "metrics.jsonl"
COLUMNS = 3
SUMMARY = "train_runtime"
"""Transformers' `Trainer` ends with one more line for its last step; this quantity is on no other."""


class MetricsLog:
    """Appends logged steps to `<scratch>/metrics.jsonl` and to the stage's MLflow run.

    A resumed run drops the steps that it repeats, once, before it logs its first.
    """

    def __init__(self, job: StageJob, stage: str) -> None:
        self.stage = stage
        self.path = job.scratch_directory() / METRICS
        self.rows: list[Row] = [row for _, row in read_lines(self.path)]
        self._mlflow = MlflowPoints(job.mlflow_uri, job.mlflow_run_id) if job.mlflow_uri and job.mlflow_run_id else None
        self._resumed = False

    def __call__(self, step: int, values: dict[str, float]) -> None:
        """Log one step's numbers; those that are not finite have no place in JSON, and are left out."""
        if not self._resumed:
            self._resume(step, summary=SUMMARY in values)
        finite = {key: value for key, value in values.items() if math.isfinite(value)}
        row = {"stage": self.stage, "step": step, **finite}
        append(self.path, [row])
        self.rows.append(row)
        if self._mlflow is not None:
            points = {f"{self.stage}/{key}": value for key, value in finite.items()}
            self._mlflow.send(step, points, last=SUMMARY in values)

    def last(self, key: str) -> float:
        """The newest value of a quantity; an error if it was never logged."""
        for row in reversed(self.rows):
            if key in row:
                return float(row[key])
        raise UserError(f"{key} was never logged", where=self.path, remedy="train for at least one logging step")

    def newest(self, names: Sequence[str]) -> dict[str, float]:
        """The newest values of those quantities that were logged at all: of some, not every step has one."""
        return {name: points[-1][1] for name, points in self.curves(names).items() if points}

    def plot(self, *panels: str | Sequence[str]) -> Path:
        """A PNG beside the metrics file: one panel per quantity, or per group of quantities on one axis.

        A name may be a pattern: `("memory/retained/turn_*",)` is one panel with a curve for every turn.
        """
        from matplotlib.figure import Figure

        columns = min(COLUMNS, len(panels))
        lines = math.ceil(len(panels) / columns)
        figure = Figure(figsize=(4.5 * columns, 3 * lines), layout="constrained")
        grid = figure.subplots(lines, columns, squeeze=False).flatten()
        for axes, panel in zip(grid, panels, strict=False):
            self._draw(axes, [panel] if isinstance(panel, str) else panel)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        path = self.path.with_name("curves.png")
        figure.savefig(path, dpi=110)
        return path

    def curves(self, names: Sequence[str]) -> dict[str, list[tuple[int, float]]]:
        """Quantity -> its (step, value) points, of every logged quantity that is named or fits a pattern."""
        logged = dict.fromkeys(key for row in self.rows for key in row if key not in ("stage", "step"))
        found = dict.fromkeys(key for name in names for key in logged if fnmatchcase(key, name))
        return {key: [(row["step"], row[key]) for row in self.rows if key in row] for key in found}

    def _draw(self, axes: Any, names: Sequence[str]) -> None:
        curves = self.curves(names)
        for key, points in curves.items():
            axes.plot(*zip(*points, strict=True), label=key, marker="." if len(points) == 1 else "")
        if not curves:
            axes.text(0.5, 0.5, "never logged", ha="center", transform=axes.transAxes)
        if len(curves) > 1:
            axes.legend(fontsize="x-small")
        title = names[0] if len(names) == 1 else ", ".join(sorted({name.split("/")[0] for name in names}))
        axes.set(xlabel="optimizer step", title=f"{self.stage}: {title}")
        axes.grid(alpha=0.3)

    def _resume(self, step: int, *, summary: bool) -> None:
        def keep(row: Row) -> bool:
            """Earlier steps; of this one all but an old summary, if this run had nothing left to do but to write it."""
            return row["step"] < step or (summary and row["step"] == step and SUMMARY not in row)

        cut(self.path, keep)
        self.rows = [row for _, row in read_lines(self.path)]
        self._resumed = True
