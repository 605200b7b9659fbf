"""The benchmark report as a stage: every system asked every question, scored, compared, and put into the store.

    python -m personamem_pipeline.evaluation --job job.json

Inputs: `benchmark`, `base_model`, `sft_checkpoint`, `grpo_checkpoint`, and optionally `seeds`, the versions of reports
of other training seeds, separated by commas. Each system's answers are kept in the stage's scratch directory, so a run
that was stopped or killed goes on with the next system, and scoring again generates nothing.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation import curves as training_curves
from personamem_pipeline.evaluation import pool, report, results
from personamem_pipeline.evaluation.judge import answer_openly, judge_all
from personamem_pipeline.evaluation.provenance import provenance, refuse_shared_persons, refused_questions
from personamem_pipeline.evaluation.records import Answer, Benchmark, MemoryStep, OpenAnswer
from personamem_pipeline.evaluation.systems import (
    MemorySystem,
    NoHistory,
    Oracle,
    Run,
    SwappedHistory,
    System,
    guessers,
    known,
)
from personamem_pipeline.memory.episode import Known
from personamem_pipeline.memory.generators import load as generators
from personamem_pipeline.memory.generators.base import Closing, Generator
from personamem_pipeline.memory.generators.decoded import Decoded
from personamem_pipeline.questions.gather import read_histories, read_questions
from personamem_pipeline.questions.judge import INSTRUCTIONS, EndpointJudge
from personamem_pipeline.seeds import digest
from personamem_pipeline.stage import Interrupted, Progress, StageJob, StageResult, run_stage
from personamem_pipeline.store import Store, write_json_atomically

MODELS = {
    "base": ("base model", "base_model"),
    "sft": ("after SFT", "sft_checkpoint"),
    "grpo": ("after GRPO", "grpo_checkpoint"),
}
"""System -> (label, input)."""
Runs = dict[str, tuple[str, Any, Run]]
OpenGenerator = Callable[[Path], Generator]


class Evaluation:
    """One evaluation: what it reads, and the answers it has so far."""

    def __init__(self, job: StageJob, progress: Progress, load_generator: OpenGenerator) -> None:
        self.job, self.progress, self.load_generator = job, progress, load_generator
        self.store, self.scratch = Store(job.store), job.scratch_directory()
        self.preset = job.preset
        self.inputs = {name: version for name, version in job.inputs.items() if name != "seeds"}
        if missing := [name for name in ("benchmark", *(i for _, i in MODELS.values())) if name not in self.inputs]:
            raise UserError(f"the job has no {', '.join(missing)}", expected="all inputs of benchmark_report")
        self._loaded: dict[str, Generator] = {}
        self.runs: Runs = {}
        self.opened: dict[str, list[OpenAnswer]] = {}

    @cached_property
    def benchmark(self) -> Benchmark:
        version, config = self.inputs["benchmark"], self.preset.evaluation
        questions = [q for q in read_questions(self.store, "benchmark", version) if q.certificate.admitted]
        histories = {h.person_id: h for h in read_histories(self.store, "benchmark", version)}
        if not questions:
            raise UserError("the benchmark has no admitted question", where=self.store.path("benchmark", version))
        return Benchmark(histories, questions, config.option_orders, config.seed)

    def generator(self, name: str) -> Generator:
        """The checkpoint of a system, loaded when first needed, the one before it let go."""
        if name not in self._loaded:
            self._loaded.clear()
            self._loaded[name] = self.load_generator(self.store.path("checkpoints", self.inputs[MODELS[name][1]]))
        return self._loaded[name]

    def ask_everybody(self) -> None:
        """Run every system that has no answers in the scratch directory yet."""
        memory = self.preset.memory
        for name, (label, _) in MODELS.items():
            self._run(name, partial(self._memory_system, name, label))
            self._open(name)
        own = self._known("grpo")
        self._run("oracle", lambda: Oracle(self.generator("grpo"), memory))
        self._run("swapped_history", lambda: SwappedHistory(self.generator("grpo"), memory, own))
        self._run("no_history", lambda: NoHistory(self.generator("grpo"), memory))
        for guesser in guessers():
            self.runs[guesser.name] = (guesser.label, guesser.role, guesser.run(self.benchmark))

    def _memory_system(self, name: str, label: str) -> System:
        return MemorySystem(name, label, self.generator(name), self.preset.memory)

    def _known(self, name: str) -> dict[str, Known]:
        histories = {person: history.messages for person, history in self.benchmark.histories.items()}
        return known(histories, self.runs[name][2].steps, self.preset.memory)

    def _run(self, name: str, make: Callable[[], System]) -> None:
        started, path = time.monotonic(), self.scratch / f"run-{name}.json"
        if not path.exists():
            self._stop_if_asked()
            system = make()
            run = system.run(self.benchmark)
            write_json_atomically(path, {"label": system.label, "role": system.role, **_plain(run)})
        kept = json.loads(path.read_text())
        answers = tuple(Answer.model_validate(row) for row in kept["answers"])
        steps = tuple(MemoryStep.model_validate(row) for row in kept["steps"])
        self.runs[name] = (kept["label"], kept["role"], Run(answers, steps))
        right = sum(answer.correct for answer in answers) / len(answers)
        self.progress.say(
            "%-16s %5.1f %% of %d answers right (%d write turns, %.1f s)",
            name, 100 * right, len(answers), len(steps), time.monotonic() - started,
        )  # fmt: skip

    def _open(self, name: str) -> None:
        """Open-ended answers of a model and their verdicts; kept apart, so that another judge generates nothing."""
        path = self.scratch / f"open-{name}.json"
        if not path.exists():
            self._stop_if_asked()
            generated = answer_openly(self.benchmark, name, self._known(name), self.generator(name), self.preset.memory)
            write_json_atomically(path, [row.model_dump(mode="json") for row in generated])
        answers = [OpenAnswer.model_validate(row) for row in json.loads(path.read_text())]
        judged = self.scratch / f"judged-{name}-{digest([self._judge.name, INSTRUCTIONS])[:12]}.json"
        if not judged.exists():
            self._stop_if_asked()
            verdicts = judge_all(self._judge, self.benchmark, answers)
            write_json_atomically(judged, [row.model_dump(mode="json") for row in verdicts])
        self.opened[name] = [OpenAnswer.model_validate(row) for row in json.loads(judged.read_text())]

    @cached_property
    def _judge(self) -> EndpointJudge:
        return EndpointJudge.configured(self.preset.evaluation.seed)

    def _stop_if_asked(self) -> None:
        if self.progress.stop_requested:
            raise Interrupted(f"{len(self.runs)} systems are answered and kept in {self.scratch}")


def evaluate(job: StageJob, progress: Progress, load_generator: OpenGenerator | None = None) -> StageResult:
    """The stage: verify, ask, score, write, store."""
    evaluation = Evaluation(job, progress, load_generator or checkpoint_generator(job))
    store, scratch = evaluation.store, evaluation.scratch
    block = provenance(store, evaluation.inputs, job.preset, job.code_version)
    benchmark = evaluation.benchmark
    refuse_shared_persons(store, block["lineage"], set(benchmark.histories))
    evaluation.ask_everybody()
    found = results.build(
        benchmark,
        evaluation.runs,
        resamples=job.preset.evaluation.bootstrap,
        opened=evaluation.opened,
        provenance=block,
        refused=refused_questions(
            store, evaluation.inputs["benchmark"], (question.question_id for question in benchmark.questions)
        ),
    )
    directory = scratch / "report"
    shutil.rmtree(directory, ignore_errors=True)
    report.write_report(
        directory,
        found,
        curves=_curves(store, evaluation.inputs),
        rows={
            "answers": (Answer, [a for _, _, run in evaluation.runs.values() for a in run.answers]),
            "open_answers": (OpenAnswer, [a for rows in evaluation.opened.values() for a in rows]),
        },
        pooled=_pooled(store, job.inputs.get("seeds", ""), found),
    )
    producer = {"stage": job.stage, "code_version": job.code_version, "preset": job.preset.name}
    manifest = store.put_directory("reports", directory, parents=evaluation.inputs, producer=producer)
    return _result(store.path("reports", manifest.version), manifest.version, found)


def checkpoint_generator(job: StageJob) -> OpenGenerator:
    """Checkpoints through the engine that the preset names, decoded as it says."""
    config, engines = job.preset.evaluation, ExitStack()

    def load(directory: Path) -> Generator:
        engines.close()  # that of the checkpoint before, which may hold most of a GPU
        generator = generators.load_generator(directory, config.engine, batch_size=config.batch_size)
        if isinstance(generator, Closing):
            engines.callback(generator.close)
        return Decoded(generator, config.temperature, config.seed)

    return load


def _plain(run: Run) -> dict[str, Any]:
    return {
        "answers": [row.model_dump(mode="json") for row in run.answers],
        "steps": [row.model_dump(mode="json") for row in run.steps],
    }


def _curves(store: Store, inputs: Mapping[str, str]) -> dict[str, training_curves.Points]:
    rows = []
    for name in ("sft_checkpoint", "grpo_checkpoint"):
        directory = store.path("checkpoints", inputs[name])
        if path := training_curves.find_metrics(directory, store.root, inputs[name]):
            rows += training_curves.read_metrics(path)
    return training_curves.select(rows)


def _pooled(store: Store, versions: str, found: results.Results) -> dict[str, Any] | None:
    others = [version for version in versions.split(",") if version]
    if not others:
        return None
    loaded = [results.load(store.verified("reports", version) / "results.json") for version in others]
    return pool.summarize([*loaded, found])


def _result(directory: Path, version: str, found: results.Results) -> StageResult:
    metrics = {f"accuracy_{system['name']}": system["accuracy"] for system in found["systems"]}
    metrics |= {f"open_{row['system']}": row["mean"] for row in found["open"] if row["mean"] is not None}
    for test in found["tests"]:
        name = f"{test['a']}_minus_{test['b']}"
        metrics |= {name: test["difference"]} | ({f"p_{name}": test["p"]} if test["p"] is not None else {})
    return StageResult(
        kind="reports",
        version=version,
        metrics=metrics,
        paths={"report": str(directory / "report.html"), "results": str(directory / "results.json")},
        notes={"summary": _markdown(found)},
    )


def _markdown(found: results.Results) -> str:
    lines = ["| system | accuracy | 95 % interval |", "| --- | --- | --- |"]
    for system in found["systems"]:
        interval = f"{report.percent(system['low'])} to {report.percent(system['high'])}"
        lines.append(f"| {system['label']} | {report.percent(system['accuracy'])} | {interval} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_stage(evaluate)
