"""The pod of one attempt at one stage, as the API takes it. Pure: what it depends on is given.

Its name follows from run, stage and attempt, so that creating it can be tried again after an answer was lost: whoever finds
the name taken, by a pod with these labels, has found the own one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from personamem_pipeline.seeds import digest
from resources.pods.fields import without_secrets
from resources.pods.template import PodTemplate

Json = dict[str, Any]
CONTAINER = "stage"
MANAGED = {"app.kubernetes.io/managed-by": "personamem-pipeline", "app.kubernetes.io/component": "stage"}
RUN, STAGE, ATTEMPT = "dagster/run-id", "dagster/asset", "dagster/attempt"
INSTANCE = "personamem/dagster-instance"
"""Which Dagster database knows the run: two installations may share a namespace, and each clears up only its own."""
QUEUE = "kueue.x-k8s.io/queue-name"
"""https://kueue.sigs.k8s.io/docs/tasks/run/plain_pods/"""


@dataclass(frozen=True)
class Owner:
    """The pod that waits for this one, in the same namespace; when it is deleted, so is this one."""

    name: str
    uid: str


def pod_name(stage: str, run_id: str, retry: int) -> str:
    """At most 63 characters of a DNS label, different for each attempt."""
    words = re.sub(r"[^a-z0-9]+", "-", stage.lower()).strip("-")[:36]
    return f"pm-{words}-{digest([run_id, stage, retry])[:12]}-{retry}"


def identity(stage: str, run_id: str, retry: int, instance: str) -> dict[str, str]:
    """The labels by which a pod is known as this attempt's."""
    return {**MANAGED, RUN: run_id, STAGE: stage, ATTEMPT: str(retry), INSTANCE: instance}


def pod_manifest(
    template: PodTemplate,
    *,
    stage: str,
    command: Sequence[str],
    run_id: str,
    retry: int,
    instance: str,
    env: Mapping[str, str],
    owner: Owner | None,
) -> Json:
    """The JSON of a Pod.

    Args:
        template: the stage's own (`PodTemplate.for_stage`).
        stage: the asset's name.
        command: of the container.
        run_id: Dagster's run.
        retry: number of the attempt, from 0.
        instance: names the Dagster database.
        env: variables beside the template's, which win; no secrets.
        owner: the run worker's pod, if it is one in the same namespace.

    Raises:
        ValueError: a variable looks like a secret.
    """
    metadata: Json = {
        "name": pod_name(stage, run_id, retry),
        "namespace": template.namespace,
        "labels": {
            **template.labels,
            "app.kubernetes.io/name": "personamem-pipeline",
            **identity(stage, run_id, retry, instance),
            **({QUEUE: template.kueue_queue} if template.kueue_queue else {}),
        },
    }
    if template.annotations:
        metadata["annotations"] = template.annotations
    if owner:
        metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": owner.name, "uid": owner.uid}]
    spec: Json = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": template.deadline_seconds,
        "terminationGracePeriodSeconds": template.grace_seconds,
        "serviceAccountName": template.service_account,
        "automountServiceAccountToken": False,
        # PID 1 of a container ignores SIGTERM until it has a handler, which a stage has only once it is loaded.
        "shareProcessNamespace": True,
        "enableServiceLinks": False,  # a variable for every service of the namespace is nothing a stage should depend on
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": template.run_as_user,
            "runAsGroup": template.run_as_group,
            "fsGroup": template.run_as_group,
            "fsGroupChangePolicy": "OnRootMismatch",  # a store of millions of files is not chowned at every start
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(template, command, env)],
        "volumes": [volume for volume, _ in _volumes(template)],
    }
    if template.node_selector:
        spec["nodeSelector"] = template.node_selector
    if template.tolerations:
        spec["tolerations"] = [toleration.model_dump(exclude_none=True) for toleration in template.tolerations]
    if template.priority_class:
        spec["priorityClassName"] = template.priority_class
    if template.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in template.image_pull_secrets]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _container(template: PodTemplate, command: Sequence[str], env: Mapping[str, str]) -> Json:
    size: Json = {"cpu": template.cpu, "memory": template.memory}
    if template.gpus:
        size[template.gpu_resource] = str(template.gpus)
    home = template.scratch.home
    variables = {
        # Where NVIDIA's runtime is the default one, a container that asks for no GPU would see them all.
        **({} if template.gpus else {"NVIDIA_VISIBLE_DEVICES": "void"}),
        "HOME": home,  # a numeric user has none
        "TMPDIR": home,
        "PERSONAMEM_HOME": f"{home}/personamem",
        **without_secrets(dict(env)),
        **template.env,
        **({"PERSONAMEM_IMAGE": template.image_digest} if template.image_digest else {}),
    }
    return {
        "name": CONTAINER,
        "image": template.image,
        "imagePullPolicy": template.image_pull_policy,
        "command": list(command),
        "env": [{"name": name, "value": value} for name, value in sorted(variables.items())],
        "envFrom": [{"secretRef": {"name": name}} for name in template.env_from_secrets],
        "resources": {"limits": size, "requests": dict(size)},
        "volumeMounts": [mount for _, mount in _volumes(template)],
        "terminationMessagePolicy": "FallbackToLogsOnError",  # the last words stay where the log cannot be read
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def _volumes(template: PodTemplate) -> list[tuple[Json, Json]]:
    """Each volume with its mount."""
    scratch = template.scratch
    own: Json = {"emptyDir": {"sizeLimit": scratch.size_limit} if scratch.size_limit else {}}
    if scratch.claim:
        kept: Json = {"persistentVolumeClaim": {"claimName": scratch.claim}}
    elif scratch.host_path:
        kept = {"hostPath": {"path": scratch.host_path, "type": "Directory"}}
    else:
        kept = own
    shared = {"emptyDir": {"medium": "Memory", "sizeLimit": template.shm_size}}
    found = [
        ({"name": "shm", **shared}, {"name": "shm", "mountPath": "/dev/shm"}),
        ({"name": "scratch", **kept}, {"name": "scratch", "mountPath": scratch.mount_path}),
    ]
    if scratch.claim:
        found.append(({"name": "local", **own}, {"name": "local", "mountPath": scratch.local_path}))
    if template.artifacts:
        claim = {"persistentVolumeClaim": {"claimName": template.artifacts.claim}}
        mount = {"name": "artifacts", "mountPath": template.artifacts.mount_path}
        found.append(({"name": "artifacts", **claim}, mount))
    return found
