"""The code location: which assets there are and how the world is reached. The composition root; it may import all.

    dagster dev                       # through workspace.yaml
    dagster asset materialize ...     # through DAGSTER_MODULE_NAME, see .envrc

Loading it imports no torch, transformers, mlflow or openai and takes less than 3 s; a test holds that.

The nightly evaluation has two schedules over one job, and the switch in the UI says which is on: `nightly_evaluation`
skips with a reason when the current checkpoint was already evaluated, `nightly_evaluation_always` runs every night.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets import checkpoints, conversations, datasets, histories, personas, questions, report, seeds
from assets.checkpoints import COMMANDS
from personamem_pipeline.presets import Preset, load_preset
from personamem_pipeline.settings import Settings, load_settings
from resources.compute import Compute, LocalProcess
from resources.endpoint import EndpointResource
from resources.pods.compute import KubernetesPods
from resources.reaper import build_reaper
from resources.store import StoreResource
from resources.tracking import Tracking

NIGHTLY = "nightly_evaluation"
AT_THREE = "0 3 * * *"


def build_defs(settings: Settings, *, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Fresh definitions for these settings; `resources` replaces single resources by name, e.g. in tests."""
    preset = load_preset(settings.preset, seed=settings.seed)
    job = dg.define_asset_job(NIGHTLY, selection=["benchmark_report"], tags={"stage": "evaluation"})
    world = {**default_resources(settings), **(resources or {})}
    pods = world["compute"]
    return dg.Definitions(
        assets=build_assets(preset, settings),
        resources=world,
        jobs=[job],
        schedules=[_schedule(job, NIGHTLY, always=False), _schedule(job, f"{NIGHTLY}_always", always=True)],
        sensors=[build_reaper(pods)] if isinstance(pods, KubernetesPods) else [],
        # Stages that are worth a process of their own run as commands anyway; a process per data stage would spend
        # more time on loading this module than on the work.
        executor=dg.in_process_executor,
    )


def build_assets(
    preset: Preset, settings: Settings, commands: Mapping[str, str] = COMMANDS
) -> list[dg.AssetsDefinition]:
    """All assets of a preset, parents first. The models that write and certify the data are part of their code versions;
    `commands` are the modules that Compute runs."""
    model = settings.llm_model
    assets = [
        *seeds.build(preset.data),
        *personas.build(preset.data, model),
        *conversations.build(preset.data, model),
        *histories.build(preset.data),
        *questions.build(preset.data, model, settings.readers),
        *datasets.build(preset.data),
        *checkpoints.build(preset, model, commands),
        *report.build(preset, settings.readers, commands),
    ]
    if settings.shard_runs == "together":
        return assets
    each = dg.BackfillPolicy.multi_run(1)
    return [asset.with_attributes(backfill_policy=each) if asset.partitions_def else asset for asset in assets]


def default_resources(settings: Settings) -> dict[str, Any]:
    """How a machine with these settings reaches the world."""
    return {
        "store": StoreResource(root=settings.store),
        "endpoint": EndpointResource.configured(settings),
        "compute": compute(settings),
        "tracking": Tracking(uri=settings.mlflow_uri),
    }


def compute(settings: Settings) -> Compute:
    """Where GPU stages run."""
    return KubernetesPods.configured(settings) if settings.compute == "kubernetes" else LocalProcess()


def _schedule(job: Any, name: str, *, always: bool) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=AT_THREE,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Every night." if always else "At night, when there is a checkpoint that was not evaluated yet.",
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        checkpoint = _materialization(context.instance, "grpo_checkpoint")
        if checkpoint is None:
            return dg.SkipReason("there is no grpo_checkpoint yet")
        current = {"grpo_checkpoint": checkpoint, "benchmark": _materialization(context.instance, "benchmark") or {}}
        evaluated = _materialization(context.instance, "benchmark_report") or {}
        version = checkpoint["dagster/data_version"]
        if not always and all(
            evaluated.get(f"dagster/input_data_version/{name}") == tags.get("dagster/data_version")
            for name, tags in current.items()
        ):
            return dg.SkipReason(f"grpo_checkpoint {version} was already evaluated on this benchmark")
        # The night is part of the key, so that an evaluation that failed is asked for again the next night.
        return dg.RunRequest(run_key=f"{version}@{context.scheduled_execution_time.isoformat()}")

    return nightly


def _materialization(instance: dg.DagsterInstance, name: str) -> Mapping[str, str] | None:
    """The tags of an asset's latest materialization."""
    event = instance.get_latest_materialization_event(dg.AssetKey(name))
    if event is None or event.asset_materialization is None:
        return None
    return event.asset_materialization.tags or {}


defs = build_defs(load_settings())
