from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow import MlflowClient

from resources.tracking import DIGEST_CHARACTERS, EXPERIMENT, Tracking

DATASET = "ab" * 32
CONTEXT: Any = SimpleNamespace(run=SimpleNamespace(run_id="dagster-run"), retry_number=0)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    return Tracking(uri=f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'new' / 'mlflow.db'}")


def client(tracking: Tracking) -> MlflowClient:
    return MlflowClient(tracking_uri=tracking.uri)


def start(tracking: Tracking) -> str:
    inputs = {"training_dataset": (DATASET, "/store/training_dataset")}
    return tracking.start(CONTEXT, "sft_checkpoint", {"sft.steps": 3, "long": "x" * 9000}, inputs)


def test_a_run_names_its_asset_its_dagster_run_and_its_inputs(tracking: Tracking) -> None:
    run = client(tracking).get_run(start(tracking))
    assert run.data.tags["dagster.run_id"] == "dagster-run"
    assert run.data.tags["asset"] == "sft_checkpoint"
    assert run.data.tags["input.training_dataset"] == DATASET
    assert run.data.params["sft.steps"] == "3"
    (entry,) = run.inputs.dataset_inputs
    assert entry.dataset.digest == DATASET[:DIGEST_CHARACTERS]
    assert {tag.key: tag.value for tag in entry.tags}["version"] == DATASET


def made(tracking: Tracking, version: str = "v1") -> tuple[str, str]:
    """A run that recorded a checkpoint, and the id of its logged model."""
    run_id = start(tracking)
    tracking.record(run_id, version, {"loss": 0.25}, f"/store/checkpoints/{version}")
    model_id = tracking.log_model(run_id, {"loss": 0.25})
    return run_id, model_id


def test_a_checkpoint_becomes_a_model_linked_to_run_and_dataset(tracking: Tracking) -> None:
    run_id, model_id = made(tracking)
    assert client(tracking).get_run(run_id).info.status == "RUNNING", "whether it was good is not known yet"
    tracking.finish(run_id)
    run = client(tracking).get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["loss"] == 0.25
    assert [output.model_id for output in run.outputs.model_outputs] == [model_id]
    model = client(tracking).get_logged_model(model_id)
    assert model.source_run_id == run_id
    assert model.tags["data_version"] == "v1"
    assert model.tags["path"] == "/store/checkpoints/v1"
    assert model.tags["dagster.run_id"] == "dagster-run"
    assert model.metrics is not None
    assert {(m.key, m.dataset_digest) for m in model.metrics} == {("loss", DATASET[:DIGEST_CHARACTERS])}


def test_a_failed_stage_closes_its_run(tracking: Tracking) -> None:
    run_id = start(tracking)
    tracking.fail(run_id, "\nit failed with exit code 1\nlast line of the log: token hunter2")
    run = client(tracking).get_run(run_id)
    assert (run.info.status, run.data.tags["failure"]) == ("FAILED", "it failed with exit code 1")


def test_artifacts_stay_beside_the_database(tracking: Tracking) -> None:
    experiment = client(tracking).get_experiment_by_name(EXPERIMENT)
    assert experiment.artifact_location == str(Path(tracking.uri.removeprefix("sqlite:///")).parent / "mlruns")


def test_where_to_look() -> None:
    assert Tracking(uri="sqlite:////x/mlflow.db").url_or_path("r1") == "sqlite:////x/mlflow.db#r1"
