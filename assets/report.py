"""`benchmark_report`: every system under test, asked the whole benchmark, in one report with intervals."""

import json
from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.checkpoints import COMMANDS
from assets.checks import Outcome, alarms, none_of
from assets.common import clear_errors, code_version, file_digest, stage_asset
from assets.parents import ALARMS, FAILED, Guard, Parents, recorded_parents
from assets.stages import Made, Stage, loads_whole, metrics_finite, run_stage
from personamem_pipeline.evaluation.judging.prompts import prompt_texts as judge_texts
from personamem_pipeline.lineage import CHECKPOINTS, REPORTS
from personamem_pipeline.llm.prompts import AROUND
from personamem_pipeline.memory.prompts import prompt_texts
from personamem_pipeline.passports.card import MODELS, attach_card
from personamem_pipeline.presets import Preset
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.store import Store
from resources.compute import Compute
from resources.registry import Champion, Judged
from resources.store import StoreResource
from resources.tracking import Tracking

RESULTS = "results.json"
CANDIDATE = "grpo_checkpoint"
"""What may become the champion."""
REPORTS_BACK = 50
"""How many earlier reports are looked at for one to compare with."""


def build(preset: Preset, models: tuple[str, ...], commands: Mapping[str, str] = COMMANDS) -> list[dg.AssetsDefinition]:
    """The report asset of a preset; `models` judge open answers and answer where a system names the endpoint."""
    evaluation = preset.evaluation
    files = [evaluation.anchors, *(system.path for system in evaluation.systems.values())]
    version = code_version(
        "report/6", preset.memory, prompt_texts(preset.memory.prompts), evaluation, models, judge_texts(), AROUND,
        [file_digest(PROJECT / name) for name in files if name],
    )  # fmt: skip

    def judge(made: Made) -> list[Outcome]:
        return judge_report(preset, made)

    def settle(made: Made, outcomes: list[Outcome]) -> Mapping[str, Any]:
        return settle_report(preset, made, outcomes)

    stage = Stage(judge, settle, report_before)

    @stage_asset(
        "benchmark_report",
        version,
        {"pytorch", "mlflow"},
        "Base, SFT and GRPO beside their controls and baselines, with intervals clustered by person.",
    )
    def benchmark_report(
        context: dg.AssetExecutionContext, config: Guard, store: StoreResource, compute: Compute, tracking: Tracking
    ) -> dg.MaterializeResult:
        return run_stage(context, preset, commands, stage, config, store.open(), compute, tracking)

    return [benchmark_report]


def settle_report(preset: Preset, made: Made, outcomes: list[Outcome]) -> Mapping[str, Any]:
    """The gate of every night: put the figures into the model card of the checkpoint that was judged, and make it the
    champion unless something that is watched went wrong."""
    made.tracking.finish(made.mlflow_run)
    results = _results(made.store, made.version)
    cards = {
        name: attach_card(made.store, parent.version, results, made.version)
        for name, parent in made.parents.items()
        if parent.kind == CHECKPOINTS
    }
    doubts = [f"{name} failed its checks" for name, parent in made.parents.items() if parent.checks == "failed"]
    doubts += alarms(made.name, outcomes)
    if results["changes"] is not None:
        measure = report_before(made.context.instance, made.store, made.parents, made.tracking).get("previous")
        if measure != results["changes"]["against"]:
            doubts.append("while it was made another report became the measure: materialize benchmark_report again")
    if not watches_candidate(preset):
        doubts.append(f"no system of evaluation.regression.systems reads with {CANDIDATE}, so a fall would not be seen")
    judged = Judged(
        made.parents[CANDIDATE].version, made.version, cards[CANDIDATE], compared=results["changes"] is not None
    )
    return {"gate": made.tracking.judged(judged, doubts)}


def watches_candidate(preset: Preset) -> bool:
    """Whether a regression of what may become the champion would be seen."""
    evaluation = preset.evaluation
    watched = [evaluation.systems[name] for name in evaluation.regression.systems]
    return any(system.model == MODELS[CANDIDATE] and system.reading != "predictions" for system in watched)


def report_before(instance: dg.DagsterInstance, store: Store, parents: Parents, tracking: Tracking) -> dict[str, str]:
    """`previous`: the report to compare with, on the same benchmark and about other checkpoints.

    It is the one that the champion passed: held against the night before only, small falls would add up unseen. Where that
    is about this very checkpoint, or gone, or on another benchmark, it is the newest good one that the store still has. Good
    is one that kept its promises and was no fall itself, and (but for the champion's own) was compared: else a fallen model
    would be the measure of the night after.
    """
    now, champion = parents.versions(), tracking.champion()
    if champion is not None and champion.checkpoint != now[CANDIDATE] and champion.report is not None:
        with clear_errors():
            if store.has(REPORTS, champion.report):
                asked = store.manifest(REPORTS, champion.report).parents.get("benchmark")
                if asked == now["benchmark"]:
                    return {"previous": champion.report}
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey("benchmark_report"))
    records = instance.fetch_materializations(wanted, limit=REPORTS_BACK).records
    for record in records:
        event = record.asset_materialization
        if event is None:
            continue
        if any(event.metadata[name].value for name in (FAILED, ALARMS) if name in event.metadata):
            continue
        then = recorded_parents(event)
        version = str(event.metadata["version"].value)
        if then == now or then.get("benchmark") != now["benchmark"] or not store.has(REPORTS, version):
            continue
        if _measures(store, version, then.get(CANDIDATE), champion):
            return {"previous": version}
    return {}


def _measures(store: Store, report: str, candidate: str | None, champion: Champion | None) -> bool:
    """Whether a report may be compared with: one that was compared itself, or is the champion's, or the first."""
    if champion is None or candidate == champion.checkpoint:
        return True
    return _results(store, report).get("changes") is not None


def judge_report(preset: Preset, made: Made) -> list[Outcome]:
    """The checks of a report."""
    results = _results(made.store, made.version)
    return [
        loads_whole(made),
        all_answers(results),
        causal_memories(results),
        metrics_finite(made),
        no_regression(preset, results),
    ]


def _results(store: Store, version: str) -> dict[str, Any]:
    """The figures of a report, after their digest was compared."""
    with clear_errors():
        results: dict[str, Any] = json.loads(store.read(REPORTS, version, RESULTS))
    return results


def all_answers(results: Mapping[str, Any]) -> Outcome:
    """Every system has an answer to every question in every option order; a missing one is not a wrong one."""
    expected = int(results["benchmark"]["questions"]) * int(results["benchmark"]["option_orders"])
    systems = {str(row["name"]): int(row["n"]) for row in results["systems"]}
    problems = [f"{name} has {count} of {expected} answers" for name, count in systems.items() if count != expected]
    if expected == 0 or len(systems) < 2:
        problems.append(f"{len(systems)} systems with {expected} answers expected")
    return none_of("all_answers", problems, systems=len(systems), answers=expected)


def causal_memories(results: Mapping[str, Any]) -> Outcome:
    """The leak probe of every system whose memories count as written before the question."""
    probes = [row for row in results["leak_probe"] if row["causal"]]
    leaking = [f"{row['system']}: {row['first_difference']}" for row in probes if not row["equal"]]
    return none_of("causal_memories", leaking, probed=len(probes), write_turns=sum(row["steps"] for row in probes))


def no_regression(preset: Preset, results: Mapping[str, Any]) -> Outcome:
    """The paired tests of the watched systems against the report before, with the rows that flipped."""
    changes = results["changes"]
    if changes is None:
        told = [remark for remark in results["remarks"] if remark.startswith("not compared")]
        return Outcome("no_regression", True, {"compared": told[0] if told else "no earlier report on this benchmark"})
    watched = preset.evaluation.regression.systems
    facts = {
        "compared": f"with report {changes['against'][:12]}",
        "tests": dg.MetadataValue.json([test for test in changes["tests"] if test["system"] in watched]),
        "flipped": dg.MetadataValue.json([row for row in changes["flipped"] if row["system"] in watched]),
        "flipped_counts": dg.MetadataValue.json({name: changes["flipped_counts"].get(name) for name in watched}),
    }
    return none_of("no_regression", results["regressions"], **facts)
