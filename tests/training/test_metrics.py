"""The log of a stage: appended to, cut once by a resumed run, drawn, and sent to MLflow in one call a step."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import load_preset
from personamem_pipeline.stage_job import StageJob
from personamem_pipeline.training.metrics import METRICS, MetricsLog


def log(scratch: Path, **more: Any) -> MetricsLog:
    job = StageJob(
        stage="grpo_checkpoint",
        store=str(scratch),
        inputs={},
        preset=load_preset("demo"),
        code_version="test",
        scratch=str(scratch),
        **more,
    )
    return MetricsLog(job, "grpo")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_evaluation_reads_what_is_logged(tmp_path: Path) -> None:
    own = log(tmp_path)
    own(1, {"reward": 0.25, "clip_ratio/high": math.nan, "loss": math.inf})
    own(2, {"reward": 0.5})
    assert lines(tmp_path / METRICS) == [
        {"stage": "grpo", "step": 1, "reward": 0.25},
        {"stage": "grpo", "step": 2, "reward": 0.5},
    ]
    assert own.curves(("reward",)) == {"reward": [(1, 0.25), (2, 0.5)]}
    assert own.last("reward") == 0.5
    with pytest.raises(UserError, match="loss was never logged"):
        own.last("loss")


def test_a_running_job_only_appends(tmp_path: Path) -> None:
    own = log(tmp_path)
    own(1, {"reward": 0.0})
    inode, before = own.path.stat().st_ino, own.path.read_bytes()
    own(2, {"reward": 1.0})
    own(2, {"train_runtime": 3.0})
    assert own.path.stat().st_ino == inode and own.path.read_bytes().startswith(before)
    assert [row["step"] for row in lines(own.path)] == [1, 2, 2]


@pytest.mark.parametrize("half", ["", '{"stage": "grpo", "st', '{"stage": "grpo", "step": 4, "reward": 9.0}'])
def test_a_resumed_run_drops_the_steps_that_it_repeats(half: str, tmp_path: Path) -> None:
    own = log(tmp_path)
    for step in (1, 2, 3):
        own(step, {"reward": float(step)})
    with own.path.open("a") as file:
        file.write(half)
    again = log(tmp_path)
    assert again.last("reward") == 3.0
    for step in (2, 3):
        again(step, {"reward": -float(step)})
    assert [row["reward"] for row in lines(own.path)] == [1.0, -2.0, -3.0]
    assert again.curves(["reward"]) == {"reward": [(1, 1.0), (2, -2.0), (3, -3.0)]}


def test_a_finished_run_that_is_started_again_keeps_its_last_step(tmp_path: Path) -> None:
    """Killed after the last step: what is left to do is the trainer's summary, which bears that step's number."""
    own = log(tmp_path)
    own(1, {"reward": 1.0})
    own(2, {"reward": 2.0})
    for _ in range(2):
        log(tmp_path)(2, {"train_runtime": 1.0})
        assert [sorted(row)[0] for row in lines(own.path)] == ["reward", "reward", "stage"]


def test_curves_are_named_or_fit_a_pattern(tmp_path: Path) -> None:
    own = log(tmp_path)
    own(1, {"memory/retained/turn_1": 0.5, "memory/retained/turn_10": 0.25, "memory/retained": 0.1, "reward": 1.0})
    own(2, {"memory/retained/turn_1": 0.75})
    assert own.curves(["memory/retained/turn_*"]) == {
        "memory/retained/turn_1": [(1, 0.5), (2, 0.75)],
        "memory/retained/turn_10": [(1, 0.25)],
    }
    assert own.curves(["reward", "reward", "step", "nothing"]) == {"reward": [(1, 1.0)]}


def test_panels_stand_in_a_grid(tmp_path: Path) -> None:
    from matplotlib.image import imread

    own = log(tmp_path)
    for step in (1, 2, 3):
        own(step, {"reward": step / 3, "time/generate": 4.0, "time/train": 5.0})
    one = imread(own.plot("reward")).shape
    four = imread(own.plot("reward", ("time/generate", "time/train"), "never", ("entropy/*",))).shape
    assert own.path.with_name("curves.png").exists()
    assert (four[0], four[1]) == (2 * one[0], pytest.approx(3 * one[1], abs=3))


def test_a_step_is_one_call_to_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a real server makes of it, tests/resources and tests/assets say; making a database takes seconds."""
    from mlflow import MlflowClient

    calls: list[tuple[str, dict[str, tuple[float, int]]]] = []

    def log_batch(client: MlflowClient, run_id: str, metrics: Any) -> None:
        calls.append((run_id, {metric.key: (metric.value, metric.step) for metric in metrics}))

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    own = log(tmp_path, mlflow_uri="http://mlflow.invalid", mlflow_run_id="r1")
    own(1, {"reward": 0.5, "memory/retained/turn_1": 0.25, "nan": math.nan})
    own(2, {"reward": 0.75})
    assert calls == [
        ("r1", {"grpo/reward": (0.5, 1), "grpo/memory/retained/turn_1": (0.25, 1)}),
        ("r1", {"grpo/reward": (0.75, 2)}),
    ]


def test_a_training_goes_on_while_mlflow_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import RestException

    calls: list[list[tuple[str, int]]] = []
    answers = ["TEMPORARILY_UNAVAILABLE", "", "RESOURCE_DOES_NOT_EXIST"]

    def log_batch(client: MlflowClient, run_id: str, metrics: Any) -> None:
        calls.append([(metric.key, metric.step) for metric in metrics])
        if code := answers.pop(0):
            raise RestException({"error_code": code, "message": "no"})

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    own = log(tmp_path, mlflow_uri="http://mlflow.invalid", mlflow_run_id="r1")
    for step in (1, 2):
        own(step, {"reward": 0.5})
    assert calls == [[("grpo/reward", 1)]] and "MLflow is away, the training goes on; 1 points wait" in caplog.text
    own(2, {"train_runtime": 9.0})
    assert calls[1:] == [[("grpo/reward", 1), ("grpo/reward", 2), ("grpo/train_runtime", 2)]]
    assert len(own.rows) == 3
    with pytest.raises(RestException):
        own(3, {"reward": 0.5})


def test_points_that_mlflow_never_took_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    log(tmp_path, mlflow_uri="http://127.0.0.1:9", mlflow_run_id="r1")(1, {"train_runtime": 9.0})
    assert "1 points are in the metrics file alone" in caplog.text
