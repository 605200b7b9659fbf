"""The manifest: pure, accepted by Kubernetes' own models, and without a secret in it.

python -m tests.resources.pods.test_manifest    # writes pod.json anew, to be looked at in review
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.settings import POD_TEMPLATE
from resources.pods.manifest import Owner, pod_manifest, pod_name
from resources.pods.template import PodTemplate, load_template

GOLDEN = Path(__file__).with_name("pod.json")


def manifest(stage: str = "grpo_checkpoint", template: PodTemplate | None = None, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "command": ["python", "-m", "personamem_pipeline.training.grpo"],
        "run_id": "3f1f7a52-0000-4000-8000-000000000000",
        "retry": 1,
        "instance": "9a3a4c0e-0000-4000-8000-000000000000",
        "env": {"OMP_NUM_THREADS": "2"},
        "owner": Owner("run-worker", "a-uid"),
    }
    return pod_manifest((template or load_template(POD_TEMPLATE)).for_stage(stage), stage=stage, **{**given, **more})


def test_the_pod_for_eight_h100_is_the_reviewed_one() -> None:
    assert manifest() == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("stage", ["base_model", "sft_checkpoint", "grpo_checkpoint", "benchmark_report"])
def test_kubernetes_models_know_every_field(stage: str) -> None:
    from dagster_k8s.pipes import build_pod_body

    made = manifest(stage)
    body = build_pod_body(
        pod_name=made["metadata"]["name"], image=None, command=None, env_vars={},
        base_pod_meta=made["metadata"], base_pod_spec=made["spec"],
    )  # fmt: skip
    from kubernetes.client import ApiClient

    back = ApiClient().sanitize_for_serialization(body)["spec"]
    assert back == made["spec"]


def test_limits_are_requests_and_no_gpu_is_asked_for_where_none_is_needed() -> None:
    for stage, gpus in (("grpo_checkpoint", "8"), ("benchmark_report", "1"), ("base_model", None)):
        resources = manifest(stage)["spec"]["containers"][0]["resources"]
        assert resources["limits"] == resources["requests"]
        assert resources["limits"].get("nvidia.com/gpu") == gpus


def test_secrets_are_named_and_never_written() -> None:
    (container,) = manifest()["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "personamem"}}]
    with pytest.raises(ValueError, match="HF_TOKEN looks like a secret"):
        manifest(env={"HF_TOKEN": "hf_abc"})


def environment(made: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in made["spec"]["containers"][0]["env"]}


def test_a_pod_without_gpus_sees_none() -> None:
    assert environment(manifest("base_model"))["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert "NVIDIA_VISIBLE_DEVICES" not in environment(manifest())


@pytest.mark.parametrize(
    ("scratch", "kinds", "home"),
    [
        ({"size_limit": "5Gi"}, {"scratch": {"emptyDir": {"sizeLimit": "5Gi"}}}, "/scratch"),
        ({"host_path": "/nvme"}, {"scratch": {"hostPath": {"path": "/nvme", "type": "Directory"}}}, "/scratch"),
        (
            {"claim": "c", "size_limit": "5Gi"},
            {"scratch": {"persistentVolumeClaim": {"claimName": "c"}}, "local": {"emptyDir": {"sizeLimit": "5Gi"}}},
            "/local",
        ),
    ],
)
def test_volumes_are_as_the_template_says(scratch: dict[str, str], kinds: dict[str, Any], home: str) -> None:
    given = {**load_template(POD_TEMPLATE).model_dump(exclude_unset=True), "scratch": scratch, "artifacts": None}
    made = manifest(template=PodTemplate.model_validate(given))
    volumes = {volume.pop("name"): volume for volume in made["spec"]["volumes"]}
    del volumes["shm"]
    assert volumes == kinds
    mounts = {mount["name"]: mount["mountPath"] for mount in made["spec"]["containers"][0]["volumeMounts"]}
    assert set(mounts) == {"shm", *kinds}
    env = environment(made)
    assert (env["HOME"], env["TMPDIR"], env["PERSONAMEM_HOME"]) == (home, home, f"{home}/personamem")
    assert home in mounts.values()


def test_no_owner_and_no_queue_leave_no_trace() -> None:
    metadata = manifest(owner=None)["metadata"]
    assert "ownerReferences" not in metadata
    assert not [label for label in metadata["labels"] if "kueue" in label]
    queued = PodTemplate.model_validate(
        {**load_template(POD_TEMPLATE).model_dump(exclude_unset=True), "kueue_queue": "h100"}
    )
    assert manifest(template=queued)["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "h100"


@given(stage=st.text(min_size=1, max_size=80), run=st.uuids(), retry=st.integers(0, 99))
def test_names_are_names_and_differ_by_attempt(stage: str, run: object, retry: int) -> None:
    name = pod_name(stage, str(run), retry)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= 63
    assert name == pod_name(stage, str(run), retry) != pod_name(stage, str(run), retry + 1)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(manifest(), indent=1, sort_keys=True) + "\n")
