"""What is refused before a pod is made, where resumable steps go, and whose child a pod is."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import load_preset
from personamem_pipeline.settings import POD_TEMPLATE
from personamem_pipeline.stage_job import StageJob
from resources.pods.manifest import Owner
from resources.pods.placing import owner, placed, steps_last, visible
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
    visible(template(**more), job(**given), {"PERSONAMEM_LLM_BASE_URL": "http://vllm:8000/v1", "WORDS": "localhost"})


@pytest.mark.parametrize(
    ("given", "more", "told"),
    [
        ({"store": "/home/me/store"}, {}, "a directory under /data"),
        ({"store": "/database"}, {}, "a directory under /data"),
        ({}, {"artifacts": None}, "the template has no `artifacts`"),
        ({"mlflow_uri": "sqlite:////home/me/mlflow.db"}, {}, "start `mlflow server`"),
        ({}, {"image": "x@sha256:" + "0" * 64}, "placeholder"),
    ],
)
def test_what_it_cannot_reach_is_refused_before_it_starts(
    given: dict[str, str], more: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        visible(template(**more), job(**given), {})


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "0.0.0.0", "mlflow.localhost", "LOCALHOST"]
)
def test_an_address_at_which_a_pod_finds_itself_is_refused(host: str) -> None:
    with pytest.raises(UserError, match=r"MLFLOW_TRACKING_URI=.*\n.*\n.*set MLFLOW_TRACKING_URI$"):
        visible(template(), job(mlflow_uri=f"http://{host}:5000"), {})
    told = {"PERSONAMEM_S3_ENDPOINT": f"http://{host}:9000"}
    with pytest.raises(UserError, match=r"PERSONAMEM_S3_ENDPOINT=.*\n.*\n.*or what pods take for it"):
        visible(template(), job(), told)
    visible(template(env={"PERSONAMEM_S3_ENDPOINT": "http://minio:9000"}), job(), told)


def test_steps_lie_beside_a_local_store_and_on_the_scratch_volume_otherwise() -> None:
    assert placed(template(), job()).scratch == ""
    assert placed(template(), job(scratch="/data/given")).scratch == "/data/given"
    away = job("s3://bucket/store")
    assert placed(template(scratch={"claim": "steps"}), away).scratch == f"/scratch/{away.scratch_name}"


NODE = {"kubernetes.io/hostname": "h100-0"}


@pytest.mark.parametrize(
    ("store", "scratch", "node", "last"),
    [
        ("/data/store", {}, {}, True),
        ("/data/store", {"host_path": "/nvme"}, {}, True),
        ("s3://bucket/store", {"claim": "steps"}, {}, True),
        ("s3://bucket/store", {"claim": "steps", "size_limit": "500Gi"}, {}, True),
        ("s3://bucket/store", {"host_path": "/nvme"}, NODE, True),
        ("s3://bucket/store", {"host_path": "/nvme"}, {}, False),
        ("s3://bucket/store", {"size_limit": "500Gi"}, NODE, False),
    ],
)
def test_steps_that_go_with_the_pod_have_to_be_allowed_to(
    store: str, scratch: dict[str, Any], node: dict[str, str], last: bool
) -> None:
    own = template(scratch=scratch, node_selector=node)
    if last:
        assert steps_last(own, placed(own, job(store)))
    else:
        with pytest.raises(UserError, match=r"scratch\.may_be_lost: true"):
            placed(own, job(store))
        allowed = template(scratch={**scratch, "may_be_lost": True}, node_selector=node)
        assert not steps_last(allowed, placed(allowed, job(store)))


def test_steps_in_the_container_s_own_files_do_not_last() -> None:
    with pytest.raises(UserError, match="/elsewhere would go with the pod"):
        placed(template(), job(scratch="/elsewhere"))


def test_the_owner_is_a_pod_of_the_same_namespace() -> None:
    told = {"POD_NAME": "worker", "POD_UID": "u", "POD_NAMESPACE": "personamem"}
    assert owner(template(), told) == Owner("worker", "u")
    assert owner(template(), {**told, "POD_NAMESPACE": "dagster"}) is None
    assert owner(template(), {}) is None
