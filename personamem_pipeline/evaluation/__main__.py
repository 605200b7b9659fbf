"""The benchmark report as a stage: every system asked every question, scored, compared, and put into the store.

    python -m personamem_pipeline.evaluation --job job.json

Inputs: `benchmark`, `base_model`, `sft_checkpoint`, `grpo_checkpoint`, and optionally `previous`, the version of a report
to compare with, and `seeds`, the versions of reports of other training seeds, separated by commas. Replies are kept in the
store's scratch directory by what decides them, so that a run that was stopped or killed repeats only what was in flight,
and another report that asks the same asks no model.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation import assemble, pool, results, timings
from personamem_pipeline.evaluation import curves as training_curves
from personamem_pipeline.evaluation.asking import ANSWERS, Asking
from personamem_pipeline.evaluation.assemble import Before
from personamem_pipeline.evaluation.models import (
    ENDPOINT,
    Model,
    Models,
    directory_identity,
    endpoint_model,
    local_model,
)
from personamem_pipeline.evaluation.provenance import provenance, refuse_shared_persons, rejected_rows
from personamem_pipeline.evaluation.report.markdown import summary
from personamem_pipeline.evaluation.runner import Runner, Spent
from personamem_pipeline.evaluation.source import benchmark_source
from personamem_pipeline.evaluation.systems.build import Needs, selected, unfamiliar
from personamem_pipeline.lineage import CHECKPOINTS, REPORTS
from personamem_pipeline.memory.generators.base import Generator
from personamem_pipeline.progress import Progress
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.stage import run_stage
from personamem_pipeline.stage_job import StageJob, StageResult
from personamem_pipeline.store import ATTACHED, Store

MODELS = {
    "base": ("base model", "base_model"),
    "sft": ("after SFT", "sft_checkpoint"),
    "grpo": ("after GRPO", "grpo_checkpoint"),
}
"""Model -> (label, input)."""
OPTIONAL = ("previous", "seeds")
OpenGenerator = Callable[[Path], Generator]


def evaluate(job: StageJob, progress: Progress, load_generator: OpenGenerator | None = None) -> StageResult:
    """The stage: verify, ask, score, write, store. `load_generator` replaces the engine that the preset names."""
    store, config = Store(job.store), job.preset.evaluation
    inputs = {name: version for name, version in job.inputs.items() if name not in OPTIONAL}
    if missing := [name for name in ("benchmark", *(i for _, i in MODELS.values())) if name not in inputs]:
        raise UserError(f"the job has no {', '.join(missing)}", expected="all inputs of benchmark_report")
    block = provenance(store, inputs, job.preset, job.code_version)
    source = benchmark_source(
        store, inputs["benchmark"], orders=config.option_orders, seed=config.seed,
        people_per_batch=config.people_per_batch,
    )  # fmt: skip
    refuse_shared_persons(store, block["lineage"], set(source.by_person))
    before = _before(store, job.inputs.get("previous"))
    systems, remarks = selected(config, job.preset.memory, source)
    remarks += unfamiliar(systems, job.preset.memory)
    for remark in remarks:
        progress.say("%s", remark)
    models = Models(_models(store, inputs, job, progress, load_generator), config)
    needs = Needs(models, config, job.preset.memory, source, store.scratch)
    asking = Asking(inputs["benchmark"], needs, systems, store.scratch / ANSWERS)
    spent = Spent(config.prices, config.budget_tokens)
    runner = Runner(source, progress, spent)
    outcome = assemble.ask_and_judge(asking, runner)
    found = assemble.figures(
        asking,
        outcome,
        before=before,
        remarks=remarks,
        provenance=block,
        rejected=rejected_rows(store, inputs["benchmark"]),
    )
    directory = job.scratch_directory() / "report"
    shutil.rmtree(directory, ignore_errors=True)
    curves = {
        name: training_curves.read_curves(store.path(CHECKPOINTS, inputs[f"{name}_checkpoint"]))
        for name in ("sft", "grpo")
    }
    assemble.write(
        directory,
        found,
        outcome.runs,
        curves=training_curves.select(curves),
        pooled=_pooled(store, job.inputs.get("seeds", ""), found),
    )
    producer = {"stage": job.stage, "code_version": job.code_version, "preset": job.preset.name}
    manifest = store.put_directory(REPORTS, directory, parents=inputs, producer=producer)
    times = timings.timings(asking.journals, {name: run.label for name, run in outcome.runs.items()})
    for name, data in timings.files(times).items():
        store.attach(REPORTS, manifest.version, name, data)
    metrics = {**_metrics(found), **_cost(spent), **timings.metrics(times)}
    notes = {"summary": summary(found), "seconds": timings.markdown(times)}
    return _result(store.address(REPORTS, manifest.version), manifest.version, metrics, notes)


def _models(
    store: Store,
    inputs: Mapping[str, str],
    job: StageJob,
    progress: Progress,
    load_generator: OpenGenerator | None,
) -> dict[str, Model]:
    found = {}
    for name, (label, parent) in MODELS.items():
        directory = store.path(CHECKPOINTS, inputs[parent])
        model = local_model(label, inputs[parent], directory, job.preset.evaluation)
        if load_generator is not None:
            model = Model(label, inputs[parent], _opened(load_generator, directory))
        found[name] = model
    for name in {system.model for system in job.preset.evaluation.systems.values()} - {*found, ENDPOINT}:
        directory = (PROJECT / name).resolve()
        found[name] = local_model(directory.name, directory_identity(directory), directory, job.preset.evaluation)
    return {**found, ENDPOINT: endpoint_model(lambda: progress.stop_requested)}


def _opened(load_generator: OpenGenerator, directory: Path) -> Callable[[], Generator]:
    return lambda: load_generator(directory)


def _before(store: Store, version: str | None) -> Before | None:
    return Before(store.verified(REPORTS, version), version) if version else None


def _pooled(store: Store, versions: str, found: results.Results) -> dict[str, Any] | None:
    others = [version for version in versions.split(",") if version]
    if not others:
        return None
    loaded = [results.load(store.verified(REPORTS, version) / "results.json") for version in others]
    return pool.summarize([*loaded, found])


def _metrics(found: results.Results) -> dict[str, float]:
    metrics = {f"accuracy_{system['name']}": system["accuracy"] for system in found["systems"]}
    metrics |= {f"open_{row['system']}": row["mean"] for row in found["open"] if row["mean"] is not None}
    metrics |= {f"tokens_per_question_{row['system']}": row["tokens_per_question"] for row in found["ledger"]}
    for test in found["tests"]:
        name = f"{test['a']}_minus_{test['b']}"
        metrics |= {name: test["difference"]} | ({f"p_{name}": test["p"]} if test["p"] is not None else {})
    return metrics


def _cost(spent: Spent) -> dict[str, float]:
    """What this run itself asked; what was found answered cost nothing."""
    dollars = {} if spent.dollars is None else {"dollars": spent.dollars}
    return {"input_tokens": spent.input_tokens, "output_tokens": spent.output_tokens, **dollars}


def _result(address: str, version: str, metrics: Mapping[str, float], notes: Mapping[str, str]) -> StageResult:
    return StageResult(
        kind=REPORTS,
        version=version,
        metrics=dict(metrics),
        paths={
            "report": f"{address}/report.html",
            "results": f"{address}/results.json",
            "timings": f"{address}/{ATTACHED}/{timings.PAGE}",
        },
        notes=dict(notes),
    )


if __name__ == "__main__":
    run_stage(evaluate)
