"""`base_model`, `sft_checkpoint`, `grpo_checkpoint`: commands that a `Compute` runs, recorded with their checks.

The assets are unpartitioned and have no key prefix, so that `dagster asset materialize --select grpo_checkpoint` is
literally true. No training code is imported here; it lives in the command's own process.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from assets.checks import Outcome, broken, none_of, results
from assets.common import code_version, stage_asset, whole_metadata
from assets.parents import Guard, Parents, resolve
from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import GRAPH, shard_names
from personamem_pipeline.memory.prompts import prompt_texts
from personamem_pipeline.passports.records import DagsterOrigin, passport_problems
from personamem_pipeline.presets import Preset
from personamem_pipeline.questions.judge import INSTRUCTIONS as JUDGE
from personamem_pipeline.questions.judge import STANCE_INSTRUCTIONS
from personamem_pipeline.seeds import canonical_json, digest
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.stage import StageJob
from personamem_pipeline.store import Store
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

Judge = Callable[[str, Store, str, Parents, Mapping[str, float]], list[Outcome]]
"""Computes a stage's checks from (asset, store, version, parents, metrics)."""


MoreInputs = Callable[[dg.DagsterInstance, Store, Parents], dict[str, str]]
"""What else a stage reads that is no parent: the report before, to compare with."""


def build(preset: Preset, model: str, commands: Mapping[str, str] = COMMANDS) -> list[dg.AssetsDefinition]:
    """The three checkpoint assets of a preset; `model` judges open answers in GRPO and teaches SFT where asked to."""
    base_version = code_version("base/1", preset.base, source_digest(preset.base.path))
    prompts = prompt_texts(preset.memory.prompts)
    taught_by = (model, teacher.WRITE, teacher.CHOOSE) if preset.sft.targets == "teacher" else ()
    sft_version = code_version("sft/3", preset.memory, prompts, preset.sft, *taught_by)
    grpo_version = code_version("grpo/3", preset.memory, prompts, preset.grpo, model, JUDGE, STANCE_INSTRUCTIONS)

    @stage_asset(
        "base_model",
        base_version,
        {"huggingface"},
        "The model that training starts from, copied into the store with its passport.",
    )
    def base_model(
        context: dg.AssetExecutionContext, config: Guard, store: StoreResource, compute: Compute, tracking: Tracking
    ) -> dg.MaterializeResult:
        return run_stage_asset(context, preset, commands, config, store.open(), compute, tracking)

    @stage_asset(
        "sft_checkpoint",
        sft_version,
        {"pytorch", "mlflow"},
        "Supervised fine-tuning in the memory-agent format: write turns and answer turns.",
    )
    def sft_checkpoint(
        context: dg.AssetExecutionContext, config: Guard, store: StoreResource, compute: Compute, tracking: Tracking
    ) -> dg.MaterializeResult:
        return run_stage_asset(context, preset, commands, config, store.open(), compute, tracking)

    @stage_asset(
        "grpo_checkpoint",
        grpo_version,
        {"pytorch", "mlflow"},
        "GRPO over multi-conversation rollouts: write the memory chunk by chunk, then answer from it.",
    )
    def grpo_checkpoint(
        context: dg.AssetExecutionContext, config: Guard, store: StoreResource, compute: Compute, tracking: Tracking
    ) -> dg.MaterializeResult:
        return run_stage_asset(context, preset, commands, config, store.open(), compute, tracking)

    return [base_model, sft_checkpoint, grpo_checkpoint]


def run_stage_asset(
    context: dg.AssetExecutionContext,
    preset: Preset,
    commands: Mapping[str, str],
    guard: Guard,
    store: Store,
    compute: Compute,
    tracking: Tracking,
    judge: Judge | None = None,
    more_inputs: MoreInputs | None = None,
) -> dg.MaterializeResult:
    """Resolve the parents, run the stage's command under an MLflow run, and judge what it stored."""
    name = context.asset_key.to_user_string()
    parents = resolve(context, name, store, guard=guard, shards=shard_names(preset.data.shards))
    inputs = {parent: (record.version, record.path) for parent, record in parents.items()}
    version = context.assets_def.code_versions_by_key[context.asset_key] or ""
    run_id = tracking.start(context, name, {**_parameters(preset, name), "code_version": version}, inputs)
    job = StageJob(
        stage=name,
        store=str(store.root),
        inputs={**parents.versions(), **(more_inputs(context.instance, store, parents) if more_inputs else {})},
        preset=preset,
        code_version=version,
        mlflow_uri=tracking.uri,
        mlflow_run_id=run_id,
        origin=DagsterOrigin(
            run_id=context.run.run_id,
            asset=name,
            retry=context.retry_number,
            parents={key: record.storage_id for key, record in parents.items()},
        ),
    )
    try:
        reported = compute.run(context, commands[name], job)
        data_version = reported.data_version
        if data_version is None:
            raise dg.Failure(f"{commands[name]} reported no data version", allow_retries=False)
        metadata = dict(reported.metadata or {})
        metrics = {key: value for key, value in ((k, _number(v)) for k, v in metadata.items()) if value is not None}
        outcomes = (judge or judge_checkpoint)(name, store, data_version.value, parents, metrics)
    except BaseException as error:  # also an interrupt: an MLflow run must not stay "running" for ever
        tracking.fail(run_id, str(error) or type(error).__name__)
        raise
    if failed := broken(name, outcomes):
        tracking.fail(run_id, f"blocking checks failed: {', '.join(failed)}")
    else:
        path = store.path(GRAPH[name].kind, data_version.value)
        tracking.finish(run_id, data_version.value, {k: v for k, v in metrics.items() if math.isfinite(v)}, path)
    metadata |= {
        **whole_metadata(store, name, data_version.value, parents, outcomes),
        "mlflow_run": _link(tracking.url_or_path(run_id)),
    }
    return dg.MaterializeResult(data_version=data_version, metadata=metadata, check_results=results(name, outcomes))


def source_digest(path: str) -> str:
    """A fingerprint of the base model's source directory that is quick for large models too: its passport or manifest
    where there is one, else the names and sizes of its files. The stage itself hashes every byte."""
    directory = (PROJECT / path).resolve()
    for name in ("passport.json", "manifest.json"):
        if (directory / name).is_file():
            return digest((directory / name).read_bytes())
    files = sorted(file for file in directory.rglob("*") if file.is_file()) if directory.is_dir() else []
    return digest([[file.relative_to(directory).as_posix(), file.stat().st_size] for file in files])


def whole_checkpoint(store: Store, kind: str, version: str) -> Outcome:
    """Hash every file again, as the next reader will."""
    try:
        directory = store.verified(kind, version)
    except UserError as error:
        return none_of("loads_whole", [str(error)])
    size = sum(entry.bytes for entry in store.manifest(kind, version).files)
    return Outcome("loads_whole", True, {"bytes": size, "path": dg.MetadataValue.path(directory)})


def finite(metrics: Mapping[str, float]) -> Outcome:
    """No NaN and no infinity among the reported metrics."""
    bad = [f"{name} is {value}" for name, value in metrics.items() if not math.isfinite(value)]
    return none_of("metrics_finite", bad, metrics=len(metrics))


def judge_checkpoint(
    name: str, store: Store, version: str, parents: Parents, metrics: Mapping[str, float]
) -> list[Outcome]:
    """The blocking checks of a checkpoint."""
    directory = store.path(GRAPH[name].kind, version)
    problems = passport_problems(directory, parents.versions())
    return [
        whole_checkpoint(store, GRAPH[name].kind, version),
        none_of("passport_matches_inputs", problems, inputs=canonical_json(parents.versions())),
        finite(metrics),
    ]


def _parameters(preset: Preset, name: str) -> dict[str, Any]:
    section = {"sft_checkpoint": "sft", "grpo_checkpoint": "grpo", "base_model": "base"}.get(name, "evaluation")
    chosen = getattr(preset, section).model_dump(mode="json")
    return {"preset": preset.name, **{f"{section}.{key}": value for key, value in chosen.items()}}


def _number(value: Any) -> float | None:
    raw = getattr(value, "value", value)
    return float(raw) if isinstance(raw, int | float) and not isinstance(raw, bool) else None


def _link(place: str) -> dg.MetadataValue:
    return dg.MetadataValue.url(place) if place.startswith("http") else dg.MetadataValue.text(place)
