"""What is refused before a pod is made, where resumable steps go, and whose child a pod is."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import load_preset
from personamem_pipeline.settings import POD_TEMPLATE
from personamem_pipeline.stage import StageJob
from resources.pods.compute import owner, placed, visible
from resources.pods.manifest import Owner
from resources.pods.template import PodTemplate

IMAGE = "registry.test/trainer@sha256:" + "a" * 64


def template(**more: Any) -> PodTemplate:
    return PodTemplate.model_validate({**yaml.safe_load(POD_TEMPLATE.read_text()), "image": IMAGE, **more})


def job(store: str = "/data/store", **more: Any) -> StageJob:
    return StageJob(stage="base_model", store=store, inputs={}, preset=load_preset("demo"), code_version="test", **more)


@pytest.mark.parametrize(
    ("given", "more"),
    [
        ({}, {}),
        ({"mlflow_uri": "http://mlflow:5000"}, {}),
        ({"mlflow_uri": "sqlite:////data/mlflow.db"}, {}),
        ({"store": "s3://bucket/store"}, {"artifacts": None}),
    ],
)
def test_what_a_pod_can_reach_is_let_through(given: dict[str, str], more: dict[str, Any]) -> None:
    visible(template(**more), job(**given))


@pytest.mark.parametrize(
    ("given", "more", "told"),
    [
        ({"store": "/home/me/store"}, {}, "a directory under /data"),
        ({"store": "/database"}, {}, "a directory under /data"),
        ({}, {"artifacts": None}, "the template has no `artifacts`"),
        ({"mlflow_uri": "sqlite:////home/me/mlflow.db"}, {}, "start `mlflow server`"),
        ({"mlflow_uri": "https://me:pw@mlflow"}, {}, "MLFLOW_TRACKING_PASSWORD"),
        ({}, {"image": "x@sha256:" + "0" * 64}, "placeholder"),
    ],
)
def test_what_it_cannot_reach_is_refused_before_it_starts(
    given: dict[str, str], more: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        visible(template(**more), job(**given))


def test_steps_lie_beside_a_local_store_and_on_the_scratch_volume_otherwise() -> None:
    assert placed(template(), job()).scratch == ""
    assert placed(template(), job(scratch="/given")).scratch == "/given"
    away = job("s3://bucket/store")
    assert placed(template(), away).scratch == f"/scratch/{away.scratch_name}"


def test_the_owner_is_a_pod_of_the_same_namespace() -> None:
    told = {"POD_NAME": "worker", "POD_UID": "u", "POD_NAMESPACE": "personamem"}
    assert owner(template(), told) == Owner("worker", "u")
    assert owner(template(), {**told, "POD_NAMESPACE": "dagster"}) is None
    assert owner(template(), {}) is None
