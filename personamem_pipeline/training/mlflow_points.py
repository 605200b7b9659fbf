"""Points of a training's curves on their way to MLflow.

The metrics file beside the training is the truth; MLflow has a copy. While MLflow is away a training of days goes on, and
its points wait here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

AWAY = 500
"""HTTP status from which on it is MLflow's fault (also of what MLflow makes of a refused connection); below it is ours."""
PAUSE = 300.0
"""Seconds after a failed call until the next: MLflow's own retries have taken four minutes by then."""
AT_ONCE = 1000
"""Most metrics of one call (mlflow.utils.validation, MAX_METRICS_PER_BATCH)."""
logger = logging.getLogger("personamem")


class MlflowPoints:
    """Sends a run's points in the order in which they come; those that MLflow could not take go with later ones."""

    def __init__(self, uri: str, run_id: str) -> None:
        self._uri, self._run_id = uri, run_id
        self._client: MlflowClient | None = None
        self._waiting: list[Metric] = []
        self._not_before = 0.0

    def send(self, step: int, values: Mapping[str, float], *, last: bool = False) -> None:
        """Log the values of one step; `last`: nothing comes after it, so that it is tried whatever happened before.

        Raises:
            MlflowException: MLflow is there and refuses, e.g. because the run was deleted.
        """
        from mlflow.entities import Metric  # takes seconds to import
        from mlflow.exceptions import MlflowException

        now = int(time.time() * 1000)
        self._waiting += [Metric(name, value, now, step) for name, value in values.items()]
        if time.monotonic() < self._not_before and not last:
            return
        self._not_before = 0.0
        try:
            self._send()
        except MlflowException as error:
            if error.get_http_status_code() < AWAY:
                raise
            self._not_before = time.monotonic() + PAUSE
            logger.warning(
                "MLflow is away, the training goes on; %s points %s: %s",
                len(self._waiting), "are in the metrics file alone" if last else "wait for it", error,
            )  # fmt: skip

    def _send(self) -> None:
        from mlflow import MlflowClient

        self._client = self._client or MlflowClient(self._uri)
        while self._waiting:
            self._client.log_batch(self._run_id, metrics=self._waiting[:AT_ONCE])
            del self._waiting[:AT_ONCE]
