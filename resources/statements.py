"""What MLflow states of a run, for the comparison with passport and Dagster (`passports.comparing`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from personamem_pipeline.passports.comparing import (
    CODE,
    DAGSTER_RUN,
    MLFLOW_RUN,
    STAGE,
    VERSION,
    Statement,
    statement,
)
from resources.registry import registered

if TYPE_CHECKING:
    from mlflow import MlflowClient

INPUT_TAG = "input."


def of_run(client: MlflowClient, run_id: str) -> list[Statement]:
    """Statements of the run, of its datasets and, when its checkpoint was registered, of the registered model. Of a run
    that is not there (was deleted, or has no id) they state nothing."""
    run = _run(client, run_id) if run_id else None
    if run is None:
        return [_of_tags({}, {}, None), statement("MLflow's datasets", inputs={})]
    datasets = {
        entry.dataset.name: next((tag.value for tag in entry.tags if tag.key == "version"), "no version")
        for entry in run.inputs.dataset_inputs
    }
    said = [_of_tags(run.data.tags, run.data.params, run_id), statement("MLflow's datasets", inputs=datasets)]
    version = run.data.tags.get("data_version")
    model = registered(client, version) if version else None
    if model is not None:
        inputs, facts = _inputs(model.tags), {VERSION: model.tags.get("data_version")}
        said.append(statement("MLflow's registered model", inputs=inputs, facts=facts))
    return said


def _of_tags(tags: Mapping[str, str], params: Mapping[str, str], run_id: str | None) -> Statement:
    facts = {
        STAGE: tags.get("asset"),
        CODE: params.get("code_version"),
        VERSION: tags.get("data_version"),
        DAGSTER_RUN: tags.get("dagster.run_id"),
        MLFLOW_RUN: run_id,
    }
    return statement("MLflow's run", inputs=_inputs(tags), facts=facts)


def _inputs(tags: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(INPUT_TAG): value for name, value in tags.items() if name.startswith(INPUT_TAG)}


def _run(client: MlflowClient, run_id: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return run if run.info.lifecycle_stage == "active" else None
