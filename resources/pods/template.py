"""What a pod of a GPU stage looks like: everything that differs between clusters, typed, in one YAML file.

The default is docker/kubernetes/pod.yaml, which explains each field; PERSONAMEM_POD_TEMPLATE names another. What does not
differ between clusters (labels, security context, restart policy) is in `manifest` and no field here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import CHECKPOINTS, GRAPH, REPORTS
from resources.pods.fields import ArtifactVolume, Environment, Name, Quantity, ScratchVolume, Strict, Toleration

DIGEST = re.compile(r"@(sha256:[0-9a-f]{64})$")
PLACEHOLDER = "sha256:" + "0" * 64
LEAST_GRACE = 30
"""Seconds; the launcher of several processes needs some of them to end those that did not save."""
STAGES = tuple(name for name, node in GRAPH.items() if node.kind in (CHECKPOINTS, REPORTS))
"""The assets that are made by a stage of their own, and so in a pod."""


class StageOverrides(Strict):
    """What one stage's pod has instead; a field that is not given is the template's. The types allow None, which only stands
    for what is not given: the one null that may be written is `priority_class`, for none."""

    gpus: int | None = Field(default=None, ge=0)
    cpu: Quantity | None = None
    memory: Quantity | None = None
    shm_size: Quantity | None = None
    node_selector: dict[str, str] | None = None
    tolerations: tuple[Toleration, ...] | None = None
    priority_class: Name | None = None
    deadline_seconds: int | None = Field(default=None, gt=0)
    env: Environment | None = None

    @field_validator("*")
    @classmethod
    def _no_null(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.field_name != "priority_class":
            raise ValueError("null is no value of it: leave the field out for the template's")
        return value


class PodTemplate(Strict):
    """Everything about the pods that a cluster's owner decides. Requests equal limits, so pods are of class Guaranteed."""

    image: str
    """By digest: a tag can be moved, and a checkpoint's making names the image that made it."""
    allow_tag: bool = False
    """Take an image without a digest, as on a cluster on one's own machine; makings then name no image."""
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[Name, ...] = ()
    namespace: Name = "personamem"
    python: str = "python"
    """The interpreter in the image."""

    gpus: int = Field(default=8, ge=0)
    gpu_resource: str = "nvidia.com/gpu"
    cpu: Quantity
    memory: Quantity
    shm_size: Quantity = "64Gi"
    """/dev/shm, for NCCL and the workers that load data; counts against `memory`."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    priority_class: Name | None = None
    service_account: Name = "default"
    run_as_user: int = Field(default=1000, gt=0)
    run_as_group: int = Field(default=1000, gt=0)
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    kueue_queue: str | None = None
    """Name of a LocalQueue; the pod then waits until Kueue lets it go."""

    env: Environment = Field(default_factory=dict)
    """They win over what this machine's settings pass on."""
    env_from_secrets: tuple[Name, ...] = ()
    """Secrets of the namespace, all keys of which become variables."""
    artifacts: ArtifactVolume | None = None
    """None: the store is on s3://."""
    scratch: ScratchVolume = ScratchVolume()

    grace_seconds: int = Field(default=300, ge=LEAST_GRACE)
    """Between SIGTERM and SIGKILL: time to save."""
    deadline_seconds: int = Field(default=172_800, gt=0)
    """From the moment a node takes the pod: pulling its image counts, queuing for a node does not."""
    schedule_patience_seconds: float = Field(default=86_400, gt=0)
    """How long to queue where a node would do, once it has room, or where the namespace's quota is used up. To the
    scheduler, more GPUs than any node has look like GPUs in use: its words, a warning in the run's log, are the hint."""
    mismatch_patience_seconds: float = Field(default=60, gt=0)
    """How long to wait where no node of the cluster would do; more where an autoscaler makes nodes on demand. Schedulers
    that do not name the taint in the way are taken to mean one that passes, so that counts as a queue."""
    start_patience_seconds: float = Field(default=1800, gt=0)
    """From a node's being found to the start: pulling the image, mounting the volumes."""
    pull_patience_seconds: float = Field(default=300, gt=0)
    """How long an image may fail to be pulled, or a secret be missing."""
    lost_after_seconds: float = Field(default=60, ge=0)
    """A pod that still stands there so long after its grace period is on a lost node."""
    retries: int = Field(default=3, ge=0)
    """New pods for a stage whose pod the cluster took away (preemption, a lost node, too little memory)."""
    retry_delay_seconds: float = Field(default=30, ge=0)

    stages: dict[str, StageOverrides] = Field(default_factory=dict)
    """Asset -> what its pod has instead."""

    @property
    def scratch_lasts(self) -> bool:
        """Whether the pod that takes another's place finds what that one left on the scratch volume."""
        pinned = "kubernetes.io/hostname" in self.node_selector
        return bool(self.scratch.claim or (self.scratch.host_path and pinned))

    @property
    def image_digest(self) -> str | None:
        """`sha256:...` of the image; None where it is named by a tag."""
        found = DIGEST.search(self.image)
        return found[1] if found else None

    def for_stage(self, stage: str) -> PodTemplate:
        """The template with a stage's own values in it."""
        own = self.stages.get(stage, StageOverrides())
        given = {name: getattr(own, name) for name in own.model_fields_set}
        if "env" in given:
            given["env"] = {**self.env, **given["env"]}
        return self.model_copy(update={**given, "stages": {}})

    @field_validator("stages")
    @classmethod
    def _known(cls, stages: dict[str, StageOverrides]) -> dict[str, StageOverrides]:
        if unknown := sorted(stages.keys() - set(STAGES)):
            raise ValueError(f"no stage is called {', '.join(unknown)}; there are {', '.join(STAGES)}")
        return stages

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.image_digest is None and not self.allow_tag:
            raise ValueError("image has no digest: write name@sha256:..., or set allow_tag")
        return self


def load_template(path: Path) -> PodTemplate:
    """Read a pod template; `UserError` names the file and the field."""
    try:
        values: Any = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise UserError("no such pod template", where=path, expected="a file like docker/kubernetes/pod.yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"not YAML: {error}", where=path) from error
    try:
        return PodTemplate.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{field}: {first['msg']}" if field else first["msg"],
            where=path,
            expected="the fields that docker/kubernetes/pod.yaml explains",
            remedy=f"correct {field or 'the file'} ({error.error_count()} problem(s) in all)",
        ) from error
