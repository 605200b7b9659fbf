"""docker/kubernetes: every object is one that Kubernetes (or Kueue) knows, and what one names another is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from personamem_pipeline.presets import load_preset
from personamem_pipeline.settings import load_settings
from resources.pods.template import PLACEHOLDER, STAGES, load_template
from tests.docker import kueue
from tests.docker.files import DOCKER, SETTINGS

KUBERNETES = DOCKER / "kubernetes"
NAMESPACE = "personamem"
FILES = ["namespace", "rbac", "storage", "priorities", "postgres", "mlflow", "vllm", "kueue", "scratch"]
MANIFESTS = [KUBERNETES / f"{n}.yaml" for n in FILES]
OBJECTS: list[dict[str, Any]] = [one for path in MANIFESTS for one in yaml.safe_load_all(path.read_text())]
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
SECRETS = {"personamem", "personamem-postgres"}
"""Made by hand, as docs/kubernetes.md says."""
CLUSTER_WIDE = {"Namespace", "PriorityClass", "ResourceFlavor", "ClusterQueue"}


def names(kind: str) -> set[str]:
    return {one["metadata"]["name"] for one in OBJECTS if one["kind"] == kind}


def workloads() -> list[dict[str, Any]]:
    return [one for one in OBJECTS if one["kind"] in ("Deployment", "StatefulSet")]


def settings() -> dict[str, str]:
    lines = (KUBERNETES / "settings.env").read_text().splitlines()
    found: dict[str, str] = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return found


@pytest.mark.parametrize("manifest", OBJECTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_kubernetes_knows_every_field(manifest: dict[str, Any]) -> None:
    from dagster_k8s.models import k8s_model_from_dict, k8s_snake_case_dict
    from kubernetes import client

    if manifest["apiVersion"].startswith("kueue.x-k8s.io/"):  # custom resources: the client has no models of them
        kueue.check(manifest)
        return
    assert manifest["apiVersion"].split("/")[-1] == "v1"
    model = getattr(client, f"V1{manifest['kind']}")
    k8s_model_from_dict(model, k8s_snake_case_dict(model, manifest))


def test_the_kustomization_takes_every_file() -> None:
    text = (KUBERNETES / "kustomization.yaml").read_text()
    assert set(re.findall(r"^  #? ?- (\w+\.yaml)", text, re.MULTILINE)) == {path.name for path in MANIFESTS}
    for generated in KUSTOMIZATION["configMapGenerator"]:
        for name in (*generated.get("envs", ()), *generated.get("files", ())):
            assert (KUBERNETES / name).is_file()
    for image in KUSTOMIZATION["images"]:
        assert image.keys() == {"name", "newName", "digest"}
        assert image["digest"] == PLACEHOLDER  # which no registry has


def test_each_image_is_named_by_digest_in_the_places_that_the_documents_list() -> None:
    files = [KUBERNETES / "kustomization.yaml", KUBERNETES / "pod.yaml", DOCKER / "helm" / "values.yaml"]
    counts = {path.name: path.read_text().count(PLACEHOLDER) for path in files}
    assert counts == {"kustomization.yaml": 2, "pod.yaml": 1, "values.yaml": 1}
    told = (DOCKER.parent / "docs" / "kubernetes.md").read_text()
    assert all(f"| `{name}`" in told for name in counts)  # its table of which digest goes where


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds_it() -> None:
    done = subprocess.run(["kubectl", "kustomize", KUBERNETES], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    built: list[dict[str, Any]] = list(yaml.safe_load_all(done.stdout))
    assert all(one["metadata"].get("namespace") == NAMESPACE for one in built if one["kind"] not in CLUSTER_WIDE)
    images = [
        c["image"]
        for one in built
        if one["kind"] == "Deployment"
        for c in one["spec"]["template"]["spec"]["containers"]
    ]
    assert images == [f"ghcr.io/OWNER/personamem-orchestrator@{PLACEHOLDER}"]
    (kept,) = (one for one in built if one["metadata"]["name"] == "personamem-settings")
    assert kept["data"] == settings()


@pytest.mark.parametrize("workload", workloads(), ids=lambda one: one["metadata"]["name"])
def test_a_workload_finds_what_it_names(workload: dict[str, Any]) -> None:
    template = workload["spec"]["template"]
    spec = template["spec"]
    labels = template["metadata"]["labels"]
    assert workload["spec"]["selector"]["matchLabels"] == labels
    service = next(one for one in OBJECTS if one["kind"] == "Service" and one["spec"]["selector"] == labels)
    assert spec["serviceAccountName"] in names("ServiceAccount")
    claims = {v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "persistentVolumeClaim" in v}
    assert claims <= names("PersistentVolumeClaim")
    maps = {v["configMap"]["name"] for v in spec["volumes"] if "configMap" in v}
    assert maps <= {generated["name"] for generated in KUSTOMIZATION["configMapGenerator"]}
    own = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())}
    (container,) = spec["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == own | {
        volume["name"] for volume in spec["volumes"]
    }
    assert {port["port"] for port in service["spec"]["ports"]} == {port["containerPort"] for port in container["ports"]}


@pytest.mark.parametrize("workload", workloads(), ids=lambda one: one["metadata"]["name"])
def test_no_stage_takes_a_service_s_place(workload: dict[str, Any]) -> None:
    classes = {one["metadata"]["name"]: one for one in OBJECTS if one["kind"] == "PriorityClass"}
    service = classes[workload["spec"]["template"]["spec"]["priorityClassName"]]
    assert service["preemptionPolicy"] == "Never"
    template = load_template(KUBERNETES / "pod.yaml")
    for stage in STAGES:
        own = template.for_stage(stage)
        assert own.priority_class is not None
        assert classes[own.priority_class]["value"] < service["value"]
        # Where there is no GPU to be had, a stage's pod is among the pods of others, who know nothing of these classes.
        assert own.gpus or classes[own.priority_class]["preemptionPolicy"] == "Never"


@pytest.mark.parametrize("workload", workloads(), ids=lambda one: one["metadata"]["name"])
def test_a_workload_is_bounded_probed_and_unprivileged(workload: dict[str, Any]) -> None:
    spec = workload["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] > 0
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys() and "memory" in container["resources"][
        "limits"
    ]
    assert {"readinessProbe", "livenessProbe"} <= container.keys()


def test_secrets_stand_nowhere_but_in_secrets() -> None:
    assert "Secret" not in {one["kind"] for one in OBJECTS}
    for workload in workloads():
        for variable in workload["spec"]["template"]["spec"]["containers"][0]["env"]:
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                assert reference["name"] in SECRETS
            else:
                shown = variable["value"].replace("$(POSTGRES_PASSWORD)", "")
                assert not re.search(r"PASSWORD|_KEY|TOKEN", variable["name"]) and "password" not in shown.lower()
    assert not [name for name in settings() if re.search(r"KEY|PASSWORD|SECRET|TOKEN", name)]


def test_pods_of_gpu_stages_find_what_they_name() -> None:
    template = load_template(KUBERNETES / "pod.yaml")
    assert template.namespace == NAMESPACE
    assert template.service_account in names("ServiceAccount")
    assert template.priority_class in names("PriorityClass")
    assert set(template.env_from_secrets) <= SECRETS
    assert template.artifacts is not None and template.artifacts.claim in names("PersistentVolumeClaim")
    assert settings()["PERSONAMEM_STORE"].startswith(template.artifacts.mount_path)
    text = (KUBERNETES / "pod.yaml").read_text()
    queue = re.search(r"kueue_queue: (\S+)", text)
    assert queue is not None and queue[1] in names("LocalQueue")
    scratches = re.findall(r"^#   (scratch: .*?)(?: +#.*)?$", text, re.MULTILINE)
    assert len(scratches) == 3  # the alternatives that its comments offer
    for line in scratches:
        offered = template.model_validate({**template.model_dump(exclude_unset=True), **yaml.safe_load(line)}).scratch
        assert offered.claim is None or offered.claim in names("PersistentVolumeClaim")
        assert offered.claim or offered.host_path or offered.may_be_lost
    vllm = next(one for one in workloads() if one["metadata"]["name"] == "personamem-vllm")["spec"]["template"]["spec"]
    assert vllm["nodeSelector"] == template.node_selector


def test_the_trainer_may_ask_nothing_of_the_cluster() -> None:
    (binding,) = (one for one in OBJECTS if one["kind"] == "RoleBinding")
    assert [subject["name"] for subject in binding["subjects"]] == ["personamem-orchestrator"]
    (trainer,) = (one for one in OBJECTS if one["metadata"]["name"] == "personamem-trainer")
    assert trainer["automountServiceAccountToken"] is False
    (role,) = (one for one in OBJECTS if one["kind"] == "Role")
    assert not [
        rule for rule in role["rules"] if "*" in rule["verbs"] + rule["resources"] or "secrets" in rule["resources"]
    ]


def test_the_orchestrator_may_do_what_the_code_asks() -> None:
    (role,) = (one for one in OBJECTS if one["kind"] == "Role")
    allowed = {(verb, resource) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    code = "".join(path.read_text() for path in (DOCKER.parent / "resources").rglob("*.py"))
    calls = set(
        re.findall(r"\b(create|read|list|delete|patch|replace|watch)_namespaced_(pod_log|pod|event|job)\b", code)
    )
    resources = {"pod": "pods", "pod_log": "pods/log", "event": "events", "job": "jobs"}
    asked = {("get" if verb == "read" else verb, resources[kind]) for verb, kind in calls}
    assert asked and asked <= allowed


def test_the_settings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PERSONAMEM_")]:
        monkeypatch.delenv(name)
    for name, value in settings().items():
        assert f'"{name}"' in SETTINGS
        monkeypatch.setenv(name, value)
    read = load_settings()
    assert (read.compute, read.shard_runs, read.store) == ("kubernetes", "apart", "/data/store")
    services = {
        f"http://{one['metadata']['name']}:{one['spec']['ports'][0]['port']}"
        for one in OBJECTS
        if one["kind"] == "Service"
    }
    assert read.mlflow_uri in services
    commented = re.findall(r"^# (PERSONAMEM_\w+)=(\S+)", (KUBERNETES / "settings.env").read_text(), re.MULTILINE)
    assert dict(commented)["PERSONAMEM_LLM_BASE_URL"].removesuffix("/v1") in services


def test_the_preset_is_the_papers_with_a_model_from_the_volume() -> None:
    cluster, published = load_preset(str(KUBERNETES / "cluster.yaml")), load_preset("published")
    assert cluster.base.path.startswith("/data/")
    assert cluster.model_copy(update={"name": "published", "base": published.base}) == published
    assert cluster.base.model_copy(update={"path": published.base.path}) == published.base
