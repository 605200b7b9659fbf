"""`benchmark_report`: every system under test, asked the whole benchmark, in one report with intervals."""

import json
from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from assets.checkpoints import COMMANDS, finite, run_stage_asset, whole_checkpoint
from assets.checks import Outcome, none_of
from assets.common import code_version, stage_asset
from assets.parents import Guard, Parents
from personamem_pipeline.lineage import GRAPH
from personamem_pipeline.memory.prompts import prompt_texts
from personamem_pipeline.presets import Preset
from personamem_pipeline.questions.judge import INSTRUCTIONS as JUDGE
from personamem_pipeline.store import Store
from resources.compute import Compute
from resources.store import StoreResource
from resources.tracking import Tracking

RESULTS = "results.json"


def build(preset: Preset, model: str, commands: Mapping[str, str] = COMMANDS) -> list[dg.AssetsDefinition]:
    """The report asset of a preset; `model` judges open answers."""
    prompts = prompt_texts(preset.memory.prompts)
    version = code_version("report/4", preset.memory, prompts, preset.evaluation, model, JUDGE)

    @stage_asset(
        "benchmark_report",
        version,
        {"pytorch", "mlflow"},
        "Accuracy of base, SFT and GRPO beside their controls, with intervals clustered by person.",
    )
    def benchmark_report(
        context: dg.AssetExecutionContext, config: Guard, store: StoreResource, compute: Compute, tracking: Tracking
    ) -> dg.MaterializeResult:
        return run_stage_asset(context, preset, commands, config, store.open(), compute, tracking, judge_report)

    return [benchmark_report]


def judge_report(
    name: str, store: Store, version: str, parents: Parents, metrics: Mapping[str, float]
) -> list[Outcome]:
    """The blocking checks of a report."""
    kind = GRAPH[name].kind
    return [
        whole_checkpoint(store, kind, version),
        all_answers(store.path(kind, version)),
        finite(metrics),
    ]


def all_answers(directory: Path) -> Outcome:
    """Every system has an answer to every question in every option order; a missing one is not a wrong one."""
    results = json.loads((directory / RESULTS).read_text())
    expected = int(results["benchmark"]["questions"]) * int(results["benchmark"]["option_orders"])
    systems = {str(row["name"]): int(row["n"]) for row in results["systems"]}
    problems = [f"{name} has {count} of {expected} answers" for name, count in systems.items() if count != expected]
    if expected == 0 or len(systems) < 2:
        problems.append(f"{len(systems)} systems with {expected} answers expected")
    return none_of("all_answers", problems, systems=len(systems), answers=expected)
