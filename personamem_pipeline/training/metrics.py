"""Training curves: one JSON line per logged step, a picture, and the same points in MLflow."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from personamem_pipeline.errors import UserError
from personamem_pipeline.stage import StageJob

if TYPE_CHECKING:
    from mlflow import MlflowClient

METRICS = "metrics.jsonl"


class MetricsLog:
    """Appends logged steps to `<scratch>/metrics.jsonl` and to the stage's MLflow run.

    A resumed run drops the steps after the one it goes on from before it repeats them.
    """

    def __init__(self, job: StageJob, stage: str) -> None:
        self.stage = stage
        self.path = job.scratch_directory() / METRICS
        self.rows: list[dict[str, float | str]] = _read(self.path)
        self._job = job
        self._client: MlflowClient | None = None

    def __call__(self, step: int, values: dict[str, float]) -> None:
        """Log one step's numbers."""
        self.rows = [row for row in self.rows if float(row["step"]) < step or "train_runtime" in values]
        finite = {key: value for key, value in values.items() if math.isfinite(value)}
        self.rows.append({"stage": self.stage, "step": step, **finite})
        self.path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        self._to_mlflow(step, finite)

    def last(self, key: str) -> float:
        """The newest value of a quantity; an error if it was never logged."""
        for row in reversed(self.rows):
            if key in row:
                return float(row[key])
        raise UserError(f"{key} was never logged", where=self.path, remedy="train for at least one logging step")

    def plot(self, *keys: str) -> Path:
        """A PNG of some curves beside the metrics file."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4.5 * len(keys), 3), layout="constrained")
        for axes, key in zip(figure.subplots(1, len(keys), squeeze=False)[0], keys, strict=True):
            points = [(float(row["step"]), float(row[key])) for row in self.rows if key in row]
            axes.plot(*zip(*points, strict=True)) if points else axes.text(0.5, 0.5, "never logged")
            axes.set(xlabel="optimizer step", title=f"{self.stage}: {key}")
            axes.grid(alpha=0.3)
        path = self.path.with_name("curves.png")
        figure.savefig(path, dpi=110)
        return path

    def _to_mlflow(self, step: int, values: dict[str, float]) -> None:
        if not (self._job.mlflow_uri and self._job.mlflow_run_id):
            return
        from mlflow import MlflowClient  # takes seconds to import
        from mlflow.entities import Metric

        self._client = self._client or MlflowClient(self._job.mlflow_uri)
        now = int(time.time() * 1000)
        self._client.log_batch(
            self._job.mlflow_run_id,
            metrics=[Metric(f"{self.stage}/{key}", value, now, step) for key, value in values.items()],
        )


def _read(path: Path) -> list[dict[str, float | str]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
