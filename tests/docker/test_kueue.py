"""docker/kubernetes/kueue.yaml: a wrong field is found, and every stage's pod gets a flavor on whose nodes it may run."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from kubernetes.utils.quantity import parse_quantity

from resources.pods.manifest import pod_manifest
from resources.pods.template import load_template
from tests.docker import kueue
from tests.docker.test_manifests import KUBERNETES, OBJECTS


@pytest.mark.parametrize(
    ("kind", "path", "value", "told"),
    [
        ("ResourceFlavor", ("spec",), {"nodeLabel": {}}, "nodeLabel"),
        ("ResourceFlavor", ("spec",), {"tolerations": [{"key": "a", "operators": "Exists"}]}, "operators"),
        ("ClusterQueue", ("spec", "cohort"), "so it was called in v1beta1", "cohort"),
        ("ClusterQueue", ("spec", "resourceGroups", 0, "coveredResources"), ["cpu", "memory"], "the group's order"),
        ("ClusterQueue", ("spec", "namespaceSelector"), {"labels": {}}, "labels"),
        ("LocalQueue", ("apiVersion",), "kueue.x-k8s.io/v1beta1", "v1beta1"),
    ],
)
def test_a_wrong_field_of_kueues_is_found(kind: str, path: tuple[str | int, ...], value: object, told: str) -> None:
    manifest = copy.deepcopy(next(one for one in OBJECTS if one["kind"] == kind))
    inner: Any = manifest
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(Exception, match=told):
        kueue.check(manifest)


@pytest.mark.parametrize("stage", ["base_model", "sft_checkpoint", "grpo_checkpoint", "benchmark_report"])
def test_kueue_sends_a_pod_only_where_it_may_run(stage: str) -> None:
    flavors = {
        one["metadata"]["name"]: kueue.ResourceFlavorSpec.model_validate(one.get("spec") or {})
        for one in OBJECTS
        if one["kind"] == "ResourceFlavor"
    }
    (queue,) = (one["spec"] for one in OBJECTS if one["kind"] == "ClusterQueue")
    (group,) = kueue.ClusterQueueSpec.model_validate(queue).resource_groups
    template = load_template(KUBERNETES / "pod.yaml")
    own = template.for_stage(stage)
    pod = pod_manifest(own, stage=stage, command=[], run_id="", retry=0, instance="", env={}, owner=None)
    assert kueue.flavor_of(pod, group, flavors) == ("personamem-h100" if own.gpus else "personamem-cpu")
    # The H100s' nodes have the taint that pod.yaml tolerates. Whoever is sent there, for want of other room, too, may run.
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    assert bool(kueue.intolerant(pod, [taint])) == (own.gpus == 0)
    for flavor in flavors.values():
        if flavor.node_labels:
            assert flavor.node_labels == template.node_selector
            sent = {"spec": {"tolerations": [*pod["spec"].get("tolerations", ()), *flavor.tolerations]}}
            assert not kueue.intolerant(sent, [taint])


def test_kueues_quota_suffices_for_as_many_trainings_as_there_are_gpus_for() -> None:
    training = load_template(KUBERNETES / "pod.yaml")
    (queue,) = (one["spec"] for one in OBJECTS if one["kind"] == "ClusterQueue")
    (group,) = kueue.ClusterQueueSpec.model_validate(queue).resource_groups
    (h100,) = (each for each in group.flavors if each.name == "personamem-h100")
    room = {one.name: parse_quantity(one.nominal_quota) for one in h100.resources}
    nodes = int(room["nvidia.com/gpu"]) // training.gpus
    assert nodes >= 1
    assert nodes * parse_quantity(training.cpu) <= room["cpu"]
    assert nodes * parse_quantity(training.memory) <= room["memory"]
