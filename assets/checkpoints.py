"""`base_model`, `sft_checkpoint`, `grpo_checkpoint`: commands that a `Compute` runs, recorded with their checks.

The assets are unpartitioned and have no key prefix, so that `dagster asset materialize --select grpo_checkpoint` is
literally true. No training code is imported here; it lives in the command's own process.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from assets import papers
from assets.checks import Outcome
from assets.common import code_version, stage_asset
from assets.parents import Guard
from assets.stages import Made, Stage, loads_whole, metrics_finite, papers_agree, run_stage
from personamem_pipeline.llm.prompts import AROUND
from personamem_pipeline.memory.prompts import prompt_texts
from personamem_pipeline.passports.card import attach_card
from personamem_pipeline.presets import Preset
from personamem_pipeline.questions.judge import INSTRUCTIONS as JUDGE
from personamem_pipeline.questions.judge import STANCE_INSTRUCTIONS
from personamem_pipeline.seeds import digest
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.training import teacher
from resources.compute import Compute
from resources.store import StoreResource
from resources.tracking import Tracking

COMMANDS: Mapping[str, str] = {
    "base_model": "personamem_pipeline.training.base",
    "sft_checkpoint": "personamem_pipeline.training.sft",
    "grpo_checkpoint": "personamem_pipeline.training.grpo",
    "benchmark_report": "personamem_pipeline.evaluation",
}
LOOKED_AT = 1 << 20
"""Bytes at either end of a file: a training changes every tensor, and so the first and the last."""


def build(preset: Preset, model: str, commands: Mapping[str, str] = COMMANDS) -> list[dg.AssetsDefinition]:
    """The three checkpoint assets of a preset and their `records_agree`; `model` judges open answers in GRPO and teaches
    SFT where asked to."""
    base_version = code_version("base/2", preset.base, source_digest(preset.base.path))
    prompts = prompt_texts(preset.memory.prompts)
    taught_by = (model, teacher.WRITE, teacher.CHOOSE, AROUND) if preset.sft.targets == "teacher" else ()
    sft_version = code_version("sft/5", preset.memory, prompts, preset.sft, *taught_by)
    grpo_version = code_version(
        "grpo/4", preset.memory, prompts, preset.grpo, model, JUDGE, STANCE_INSTRUCTIONS, AROUND
    )

    @stage_asset(
        "base_model",
        base_version,
        {"huggingface"},
        "The model that training starts from, copied into the store with its passport.",
    )
    def base_model(
        context: dg.AssetExecutionContext, config: Guard, store: StoreResource, compute: Compute, tracking: Tracking
    ) -> dg.MaterializeResult:
        return run_stage(context, preset, commands, CHECKPOINT, config, store.open(), compute, tracking)

    @stage_asset(
        "sft_checkpoint",
        sft_version,
        {"pytorch", "mlflow"},
        "Supervised fine-tuning in the memory-agent format: write turns and answer turns.",
    )
    def sft_checkpoint(
        context: dg.AssetExecutionContext, config: Guard, store: StoreResource, compute: Compute, tracking: Tracking
    ) -> dg.MaterializeResult:
        return run_stage(context, preset, commands, CHECKPOINT, config, store.open(), compute, tracking)

    @stage_asset(
        "grpo_checkpoint",
        grpo_version,
        {"pytorch", "mlflow"},
        "GRPO over multi-conversation rollouts: write the memory chunk by chunk, then answer from it.",
    )
    def grpo_checkpoint(
        context: dg.AssetExecutionContext, config: Guard, store: StoreResource, compute: Compute, tracking: Tracking
    ) -> dg.MaterializeResult:
        return run_stage(context, preset, commands, CHECKPOINT, config, store.open(), compute, tracking)

    return [base_model, sft_checkpoint, grpo_checkpoint, *papers.build()]


def source_digest(path: str) -> str:
    """A fingerprint of the base model's source directory that is quick for large models too: names, sizes, and the
    first and last `LOOKED_AT` bytes of its files. The stage itself hashes every byte."""
    directory = (PROJECT / path).resolve()
    files = sorted(file for file in directory.iterdir() if file.is_file()) if directory.is_dir() else []
    return digest([[file.name, file.stat().st_size, _ends(file)] for file in files])


def _ends(path: Path) -> str:
    with path.open("rb") as file:
        first = file.read(LOOKED_AT)
        file.seek(max(0, path.stat().st_size - LOOKED_AT))
        return digest(first + file.read(LOOKED_AT))


def judge(made: Made) -> list[Outcome]:
    """The blocking checks of a checkpoint."""
    return [loads_whole(made), papers_agree(made), metrics_finite(made)]


def settle(made: Made, outcomes: list[Outcome]) -> Mapping[str, Any]:
    """Attach a model card and log the model with MLflow; what GRPO trained becomes the registered model's candidate."""
    card = attach_card(made.store, made.version)
    model_id = made.tracking.log_model(made.mlflow_run, made.finite_metrics)
    offered = made.tracking.offer(made.mlflow_run, model_id, card) if made.name == "grpo_checkpoint" else None
    made.tracking.finish(made.mlflow_run)
    return {"registered": offered} if offered else {}


CHECKPOINT = Stage(judge, settle)
