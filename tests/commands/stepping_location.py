"""A code location whose `sft_checkpoint` is a few steps of `stepping_stage`, in a pod as the settings say.

The store is `PERSONAMEM_HOME`'s. Polling is quicker than people want it, since tests wait for it.
"""

import dagster as dg

from personamem_pipeline.presets import load_preset
from personamem_pipeline.settings import load_settings
from personamem_pipeline.stage_job import StageJob
from resources.compute import Compute
from resources.pods.compute import KubernetesPods

STAGE = "tests.commands.stepping_stage"
settings = load_settings()


def stepping_job(store: str) -> StageJob:
    """The same job wherever the store is: its scratch directory and its result depend on nothing else."""
    return StageJob(
        stage="sft_checkpoint", store=store, inputs={}, preset=load_preset("demo"), code_version="stepping/1"
    )


def stepping_asset(store: str) -> dg.AssetsDefinition:
    @dg.asset
    def sft_checkpoint(context: dg.AssetExecutionContext, compute: Compute) -> dg.MaterializeResult:
        return compute.run(context, STAGE, stepping_job(store))

    return sft_checkpoint


defs = dg.Definitions(
    assets=[stepping_asset(settings.store)],
    resources={
        "compute": KubernetesPods(
            template=str(settings.pod_template), kubeconfig=str(settings.kubeconfig), poll_seconds=0.1
        )
    },
    executor=dg.in_process_executor,
)
