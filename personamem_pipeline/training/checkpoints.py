"""Checkpoints: a Hugging Face directory with a passport, put into the store under the digest of its files.

Nothing in a checkpoint depends on when or where it was made, so that the same inputs give the same version: an unbroken
run and one that was killed and resumed can be compared by their digests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from peft import PeftModel
from safetensors import SafetensorError
from transformers import Trainer

from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import CHECKPOINTS, PASSPORT
from personamem_pipeline.passports.records import ROWS, Data, Passport, Reward, RowsUsed
from personamem_pipeline.passports.sources import base_of, data_behind
from personamem_pipeline.passports.used import rows_text, summary
from personamem_pipeline.presets import Section
from personamem_pipeline.stage_job import StageJob
from personamem_pipeline.store import Store, full_disk_told, write_json_atomically
from personamem_pipeline.training.lora import merged_state

PACKAGES = ("torch", "transformers", "trl", "tokenizers", "accelerate", "peft", "vllm")
"""Those whose versions may decide a weight; vLLM is not installed everywhere."""


@dataclass(frozen=True)
class Papers:
    """What a stage adds to the passport: where it comes from, what it was paid for, which rows each step saw."""

    base: str | None = None
    data: Data | None = None
    reward: Reward | None = None
    rows: RowsUsed | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """Figures of the stage's own."""
    files: dict[str, str] = field(default_factory=dict)
    """Name -> text of what it was trained on beside the dataset's rows; kept in the checkpoint."""


def origins(job: StageJob, parent: str) -> Papers:
    """What can be said of a training before it starts; called first, because a training that cannot be traced is none.

    `parent` is the input that its weights start from. Raises `IntegrityError` where a link to the seeds is missing.
    """
    store = Store(job.store)
    data = data_behind(store, "training_dataset", job.inputs["training_dataset"])
    return Papers(base=base_of(store, job.inputs[parent]), data=data)


def package_versions() -> dict[str, str]:
    """Version of each of `PACKAGES` that is installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def save_checkpoint(job: StageJob, trainer: Trainer, tokenizer: Any, section: Section, papers: Papers) -> str:
    """Store what a trainer has trained, adapters merged, and return the checkpoint's version.

    Every process of the run calls this: under FSDP each holds a part of the weights. The first one writes, all return
    the version.
    """
    state = trainer.accelerator.get_state_dict(trainer.model)
    version = ""
    if trainer.accelerator.is_main_process:
        model = trainer.accelerator.unwrap_model(trainer.model)
        if isinstance(model, PeftModel):
            state, model = merged_state(model, state), model.get_base_model()
        version = _save(job, model, state, tokenizer, section, papers)
    return str(broadcast_object_list([version])[0])


def _save(job: StageJob, model: Any, state: dict[str, Any], tokenizer: Any, section: Section, papers: Papers) -> str:
    store = Store(job.store)
    with store.staging() as directory:
        try:
            with full_disk_told(directory):
                model.save_pretrained(directory, state_dict=state)
        except SafetensorError as error:  # a full disk reaches Python as this, not as an OSError
            raise UserError(
                f"the weights cannot be written: {error}",
                where=directory,
                remedy="free some space and run again; the stage goes on from its last saved step",
            ) from error
        tokenizer.save_pretrained(directory)
        return put_checkpoint(job, store, directory, section, papers)


def put_checkpoint(job: StageJob, store: Store, directory: Path, section: Section, papers: Papers) -> str:
    """Write the passport beside the files in `directory`, store them, and return the version."""
    passport = Passport(
        format=2,
        stage=job.stage,
        inputs=job.inputs,
        code_version=job.code_version,
        preset={"name": job.preset.name, "section": section.model_dump(mode="json"), "digest": section.digest},
        memory=job.preset.memory.model_dump(mode="json"),
        packages=package_versions(),
        base=papers.base,
        data=papers.data,
        reward=papers.reward,
        rows=summary(papers.rows) if papers.rows else None,
        **papers.extra,
    )
    if papers.rows:
        (directory / ROWS).write_text(rows_text(papers.rows))
    for name, text in papers.files.items():
        (directory / name).write_text(text)
    write_json_atomically(directory / PASSPORT, passport.model_dump(mode="json"))
    producer = {"stage": job.stage, "code_version": job.code_version, "config": section.digest}
    return store.put_directory(CHECKPOINTS, directory, parents=job.inputs, producer=producer).version


def checkpoint_directory(job: StageJob, parent: str) -> Path:
    """The verified directory of a parent checkpoint."""
    return Store(job.store).verified(CHECKPOINTS, job.inputs[parent])
