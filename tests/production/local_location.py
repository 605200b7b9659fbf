"""A code location whose one asset is a stage of this machine, as docker/compose.gpu.yaml runs GPU stages: a process of the
code server's run worker. FIELD is a directory; the stage waits there until it is told to go on, or to stop."""

import os
from pathlib import Path

import dagster as dg

from personamem_pipeline.presets import load_preset
from personamem_pipeline.stage_job import StageJob
from resources.compute import LocalProcess

ASSET = "base_model"


@dg.asset(name=ASSET, code_version="1")
def stage(context: dg.AssetExecutionContext) -> dg.MaterializeResult[object]:
    store = str(Path(os.environ["FIELD"]) / "store")
    job = StageJob(stage=ASSET, store=store, inputs={}, preset=load_preset("demo"), code_version="1")
    return LocalProcess(env={"TINY_POD": "wait"}).run(context, "tests.commands.tiny_pod", job)


defs = dg.Definitions(assets=[stage], executor=dg.in_process_executor)
