"""What all stages that run as commands share: parents, one MLflow run, the command, its checks, and what follows from them.

`checkpoints` and `report` say which stages there are; each brings its own checks and its own consequences as a `Stage`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from assets.checks import PAPERS_AGREE, Outcome, broken, none_of, results
from assets.common import whole_metadata
from assets.papers import MLFLOW_RUN_ID, about_to_record, compared, this_run
from assets.parents import Guard, Parents, resolve
from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import GRAPH, shard_names
from personamem_pipeline.passports.records import DagsterOrigin
from personamem_pipeline.presets import Preset
from personamem_pipeline.stage_job import StageJob
from personamem_pipeline.store import Store
from resources.compute import Compute
from resources.tracking import Tracking


@dataclass(frozen=True)
class Made:
    """What a stage's command made, before Dagster has recorded it."""

    context: dg.AssetExecutionContext
    name: str
    code_version: str
    store: Store
    parents: Parents
    version: str
    metrics: Mapping[str, float]
    tracking: Tracking
    mlflow_run: str

    @property
    def kind(self) -> str:
        return GRAPH[self.name].kind

    @property
    def finite_metrics(self) -> dict[str, float]:
        """The metrics that MLflow can take."""
        return {name: value for name, value in self.metrics.items() if math.isfinite(value)}


@dataclass(frozen=True)
class Stage:
    """How one stage differs from the others."""

    judge: Callable[[Made], list[Outcome]]
    """Computes the stage's checks."""
    settle: Callable[[Made, list[Outcome]], Mapping[str, Any]]
    """What follows when every promise was kept: registering, promoting. Returns metadata."""
    more_inputs: Callable[[dg.DagsterInstance, Store, Parents, Tracking], Mapping[str, str]] | None = None
    """What the stage reads that is no parent: the report before, to compare with."""


def run_stage(
    context: dg.AssetExecutionContext,
    preset: Preset,
    commands: Mapping[str, str],
    stage: Stage,
    guard: Guard,
    store: Store,
    compute: Compute,
    tracking: Tracking,
) -> dg.MaterializeResult:
    """Resolve the parents, run the stage's command under an MLflow run, judge what it stored, and settle it."""
    name = context.asset_key.to_user_string()
    parents = resolve(context, name, store, guard=guard, shards=shard_names(preset.data.shards))
    inputs = {parent: (record.version, record.path) for parent, record in parents.items()}
    code = context.assets_def.code_versions_by_key[context.asset_key] or ""
    more = stage.more_inputs(context.instance, store, parents, tracking) if stage.more_inputs else {}
    run_id = tracking.start(context, name, {**_parameters(preset, name), "code_version": code}, inputs)
    job = StageJob(
        stage=name,
        store=store.url,
        inputs={**parents.versions(), **more},
        preset=preset,
        code_version=code,
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
        if reported.data_version is None:
            raise dg.Failure(f"{commands[name]} reported no data version", allow_retries=False)
        metadata, version = dict(reported.metadata or {}), reported.data_version.value
        metrics = {key: value for key, value in ((k, _number(v)) for k, v in metadata.items()) if value is not None}
        made = Made(context, name, code, store, parents, version, metrics, tracking, run_id)
        tracking.record(run_id, version, made.finite_metrics, store.address(made.kind, version))
        outcomes = stage.judge(made)
        if failed := broken(name, outcomes):
            tracking.fail(run_id, f"blocking checks failed: {', '.join(failed)}")
        else:
            metadata |= stage.settle(made, outcomes)
    except BaseException as error:  # also an interrupt: an MLflow run must not stay "running" for ever
        _tell_mlflow(context, tracking, run_id, error)
        raise
    metadata |= {
        **whole_metadata(store, name, version, parents, outcomes),
        "mlflow_run": _link(tracking.url_or_path(run_id)),
        MLFLOW_RUN_ID: run_id,
    }
    return dg.MaterializeResult(
        data_version=reported.data_version, metadata=metadata, check_results=results(name, outcomes)
    )


def _tell_mlflow(context: dg.AssetExecutionContext, tracking: Tracking, run_id: str, error: BaseException) -> None:
    try:
        tracking.fail(run_id, str(error) or type(error).__name__)
    except Exception as fault:  # whatever it is: what ended the stage decides whether it is retried, and must be told
        context.log.warning(f"MLflow could not be told that run {run_id} failed: {fault}")


def loads_whole(made: Made) -> Outcome:
    """Hash every file again, as the next reader will."""
    try:
        manifest = made.store.check(made.kind, made.version)
    except UserError as error:
        return none_of("loads_whole", [str(error)])
    path = dg.MetadataValue.path(made.store.address(made.kind, made.version))
    return Outcome("loads_whole", True, {"bytes": sum(entry.bytes for entry in manifest.files), "path": path})


def metrics_finite(made: Made) -> Outcome:
    """No NaN and no infinity among the reported metrics."""
    bad = [f"{name} is {value}" for name, value in made.metrics.items() if not math.isfinite(value)]
    return none_of("metrics_finite", bad, metrics=len(made.metrics))


def papers_agree(made: Made) -> Outcome:
    """Passport, manifest, making, MLflow and what Dagster is about to record say the same."""
    said = [
        this_run(made.parents),
        about_to_record(made.context, made.name, made.code_version, made.version),
        *made.tracking.says(made.mlflow_run),
    ]
    run = made.context.run.run_id
    return compared(PAPERS_AGREE, said, made.store, made.kind, made.version, run, made.mlflow_run)


def _parameters(preset: Preset, name: str) -> dict[str, Any]:
    section = {"sft_checkpoint": "sft", "grpo_checkpoint": "grpo", "base_model": "base"}.get(name, "evaluation")
    chosen = getattr(preset, section).model_dump(mode="json")
    return {"preset": preset.name, **{f"{section}.{key}": value for key, value in chosen.items()}}


def _number(value: Any) -> float | None:
    raw = getattr(value, "value", value)
    return float(raw) if isinstance(raw, int | float) and not isinstance(raw, bool) else None


def _link(place: str) -> dg.MetadataValue:
    return dg.MetadataValue.url(place) if place.startswith("http") else dg.MetadataValue.text(place)
