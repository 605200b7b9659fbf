"""The `base_model` stage: take the model that training starts from into the store.

    python -m personamem_pipeline.training.base --job job.json

Weights are copied bit by bit from a local directory (`base.path` of the preset), after they were loaded once to see that
they are whole; the copy carries the source's own passport under `source`. What this pipeline trained is no base model: the
persons that it saw would be forgotten.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import CHECKPOINTS, PASSPORT
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.generators.transformers import load_model
from personamem_pipeline.passports.sources import trained_by
from personamem_pipeline.progress import Progress
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.stage import run_stage
from personamem_pipeline.stage_job import StageJob, StageResult
from personamem_pipeline.store import MANIFEST, Store, sha256_file
from personamem_pipeline.training.checkpoints import Papers, put_checkpoint


def main(job: StageJob, progress: Progress) -> StageResult:
    """Check and copy the base model; see the module's docstring."""
    source = (PROJECT / job.preset.base.path).resolve()
    origin = _origin(source, job.preset.base.path)
    model, tokenizer = load_model(source)
    Renderer(tokenizer, where=str(source))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    store = Store(job.store)
    with store.staging() as directory:
        for path in sorted(source.iterdir()):
            if path.is_file() and path.name not in (PASSPORT, MANIFEST):
                shutil.copyfile(path, directory / path.name)
        weights = {path.name: sha256_file(path) for path in sorted(directory.glob("*.safetensors"))}
        extra = {
            "source": origin,
            "weights": weights,
            "parameters": parameters,
        }
        version = put_checkpoint(job, store, directory, job.preset.base, Papers(extra=extra))
    progress.say("%d parameters from %s", parameters, source)
    return StageResult(
        kind=CHECKPOINTS,
        version=version,
        metrics={"parameters": parameters, "vocabulary": len(tokenizer)},
        paths={"checkpoint": store.address(CHECKPOINTS, version)},
        notes={"source": f"`{job.preset.base.path}`"},
    )


def _origin(source: Path, path: str) -> dict[str, Any]:
    """What is known of the source: its own passport, or where it lay. `UserError` where this pipeline trained it."""
    file = source / PASSPORT
    if not file.is_file():
        return {"path": path}
    try:
        origin: dict[str, Any] = dict(json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise UserError(f"it is no passport: {error}", where=file, remedy="correct or remove it") from error
    if stage := trained_by(origin):
        raise UserError(
            f"a {stage} of this pipeline lies there, and what it was trained on would not be known of the new checkpoints",
            where=file,
            expected="a model that comes from elsewhere",
            remedy="name the model that this one was trained from; to train longer, raise the steps of sft or grpo",
        )
    return origin


if __name__ == "__main__":
    run_stage(main)
