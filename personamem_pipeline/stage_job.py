"""What a stage is told and what it answers, the same for a local process, a pod and a shell."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from personamem_pipeline.passports.records import DagsterOrigin, Making
from personamem_pipeline.presets import Preset
from personamem_pipeline.seeds import digest
from personamem_pipeline.store import Store


class StageJob(BaseModel):
    """What a stage process needs; only paths, digests and figures, never data or secrets."""

    model_config = ConfigDict(frozen=True)
    stage: str
    store: str
    inputs: dict[str, str]
    """Name of each parent -> its version in the store."""
    preset: Preset
    code_version: str
    scratch: str = ""
    """Where resumable steps live; empty: `<store>/scratch/<digest of this job>`."""
    mlflow_uri: str | None = None
    mlflow_run_id: str | None = None
    origin: DagsterOrigin | None = None
    """Who asked, for the record of this making; no part of what the scratch directory is named by."""

    @property
    def scratch_name(self) -> str:
        """What resumable work is named by: inputs, configuration and code version."""
        key = digest([self.stage, self.inputs, self.preset.digest, self.code_version])
        return f"{self.stage}-{key[:24]}"

    def scratch_directory(self) -> Path:
        """The directory for resumable work; made if missing."""
        path = Path(self.scratch) if self.scratch else Store(self.store).scratch / self.scratch_name
        path.mkdir(parents=True, exist_ok=True)
        return path


class StageResult(BaseModel):
    """What a stage made. `version` becomes the asset's data version."""

    model_config = ConfigDict(frozen=True)
    kind: str
    version: str
    metrics: dict[str, float] = {}
    paths: dict[str, str] = {}
    notes: dict[str, str] = {}


class Finished(StageResult):
    """A result as the scratch directory keeps it, for the next run with the same job."""

    job: str
    """`StageJob.scratch_name` of the work."""
    making: Making | None = None
    """Of a checkpoint: how it was trained."""
