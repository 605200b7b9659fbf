"""What the fields of a pod template are made of: amounts, names, taints, volumes, variables without secrets."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

SECRET_NAME = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(?:_|$)", re.IGNORECASE)


def without_secrets(env: dict[str, str]) -> dict[str, str]:
    """The variables as they are; `ValueError` where one looks like a secret, which everybody who may read pods would see."""
    for name in env:
        if SECRET_NAME.search(name):
            raise ValueError(f"{name} looks like a secret: put it into a Secret and name that in env_from_secrets")
    return env


Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
MountPath = Annotated[str, Field(pattern=r"^/[^:]+$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Environment = Annotated[dict[Variable, str], AfterValidator(without_secrets)]
"""Plain values only."""


class Strict(BaseModel):
    """Base of what people write by hand: an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Toleration(Strict):
    """A taint that the pod may run in spite of."""

    key: str | None = None
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class ArtifactVolume(Strict):
    """Where a local store lies: a claim that many nodes can mount (ReadWriteMany)."""

    claim: Name
    mount_path: MountPath


class ScratchVolume(Strict):
    """Room for temporary files, caches and (with a store on s3://) resumable steps.

    A claim keeps steps for any later pod. A host path keeps them for pods of the same node. With neither, everything here
    goes with the pod. Temporary files and caches never lie on a claim, since SQLite does not work on shared file systems.
    """

    mount_path: MountPath = "/scratch"
    claim: Name | None = None
    """Of a volume that many nodes can mount (ReadWriteMany)."""
    host_path: MountPath | None = None
    """A directory that is there on the node and that `run_as_user` may write to; nothing makes it, or changes its owner."""
    size_limit: Quantity | None = None
    """Of the pod's own directory: all of scratch, or with a claim what is at `local_path`."""
    local_path: MountPath = "/local"
    """Where the pod's own directory for temporary files and caches is mounted, where `claim` is given."""
    may_be_lost: bool = False
    """With a store on s3:// and a scratch that goes with the pod: start nevertheless, and train from the beginning after
    every preemption."""

    @property
    def home(self) -> str:
        """Where temporary files and caches lie: on a file system that no other node has."""
        return self.local_path if self.claim else self.mount_path

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.host_path and (self.claim or self.size_limit):
            raise ValueError("host_path is instead of claim and size_limit: give one")
        return self
