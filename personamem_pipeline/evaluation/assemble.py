"""From journals to a report: read the replies, have the open ones judged, compute the figures, write the files.

Nothing here calls a model but the judges, whose verdicts the endpoint's cache keeps: a report with another parser, judge or
slice is made in seconds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from personamem_pipeline.evaluation import results
from personamem_pipeline.evaluation.asking import Asking
from personamem_pipeline.evaluation.judging.anchors import read_anchors
from personamem_pipeline.evaluation.judging.audit import audit
from personamem_pipeline.evaluation.judging.briefs import evidence_turns
from personamem_pipeline.evaluation.judging.panel import Panel
from personamem_pipeline.evaluation.judging.prompts import versions as rubrics
from personamem_pipeline.evaluation.records import Answer, MemoryStep, OpenAnswer, Role
from personamem_pipeline.evaluation.report.files import write_report
from personamem_pipeline.evaluation.runner import Runner
from personamem_pipeline.evaluation.scoring.answers import AnswerKey, answer_key, answers, open_answers
from personamem_pipeline.evaluation.scoring.changes import Incomparable, changes
from personamem_pipeline.evaluation.scoring.runs import UNREAD, SystemRun, at_the_end
from personamem_pipeline.evaluation.systems import build
from personamem_pipeline.evaluation.systems.guessers import guessers
from personamem_pipeline.progress import Interrupted, Progress
from personamem_pipeline.records import Rejection
from personamem_pipeline.settings import PROJECT

TELL_SECONDS = 30.0


@dataclass(frozen=True)
class Before:
    """The report before, to compare with."""

    directory: Path
    version: str


@dataclass(frozen=True)
class Outcome:
    """What an evaluation found, before figures are made of it."""

    runs: Mapping[str, SystemRun]
    probes: Sequence[Mapping[str, Any]]
    judging: Mapping[str, Any] | None
    judged_by: Mapping[str, Any]
    """For the provenance: names of the judges, versions of the rubrics."""


def read_runs(asking: Asking) -> dict[str, SystemRun]:
    """Every system's labelled answers, in the order of the preset, guessers last; open answers not judged yet."""
    key = answer_key(asking.source)
    found = {name: _run(asking, key, name) for name in asking.systems}
    for guesser in guessers(asking.source.questions):
        replies = [reply for outputs in asking.journals[guesser.name] for reply in outputs.replies]
        rows = answers(guesser.name, key, replies)
        found[guesser.name] = SystemRun(guesser.name, guesser.label, guesser.role, guesser.name, "", rows)
    return found


def _run(asking: Asking, key: AnswerKey, name: str) -> SystemRun:
    system = asking.systems[name]
    outputs = list(asking.journal(name))
    replies = [reply for batch in outputs for reply in batch.replies]
    named = build.named(name, system, asking.needs.models)
    steps = [_light(step, named.role) for batch in outputs for step in batch.steps]
    memory = build.memory_config(system, asking.needs.memory)
    return SystemRun(
        name=name,
        label=named.label,
        role=named.role,
        reading=system.reading,
        model=system.model if system.reading != "predictions" else "",
        answers=answers(name, key, replies),
        open=open_answers(name, key, replies, quotes_first=system.reading != "predictions"),
        steps=steps,
        memory_cap=memory.memory_tokens if steps else None,
        chunk_tokens=memory.chunk_tokens if steps else None,
    )


def _light(step: MemoryStep, role: Role) -> MemoryStep:
    """A write turn as its use needs it: only models' memories are shown, of all others the counts do."""
    return step if role == "model" else step.model_copy(update={"memory": "", "turns": ()})


def ask_and_judge(asking: Asking, runner: Runner) -> Outcome:
    """Ask everybody what is not answered yet, probe who writes, and have the open answers judged."""
    config = asking.needs.evaluation
    asking.everybody(runner)
    probes = asking.probes(runner)
    asking.needs.models.close()
    panel = Panel.configured(config.judges, config.seed)
    runs, judging = _judged(read_runs(asking), asking, panel, runner.progress)
    return Outcome(runs, probes, judging, {"judges": list(panel.names), "rubrics": rubrics()})


def _judged(
    runs: Mapping[str, SystemRun], asking: Asking, panel: Panel, progress: Progress
) -> tuple[dict[str, SystemRun], dict[str, Any] | None]:
    """The same runs with the panel's verdicts on their open answers, and how far the panel can be relied on."""
    config = asking.needs.evaluation
    opened = [answer for run in runs.values() for answer in run.open]
    if not opened:
        return dict(runs), None
    questions, evidence = asking.source.questions, evidence_turns(asking.source.people())
    rows = panel.judge(opened, questions, evidence, _tell(progress))
    by_system: dict[str, list[OpenAnswer]] = {}
    for row in rows:
        by_system.setdefault(row.system, []).append(row)
    anchors = read_anchors(PROJECT / config.anchors) if config.anchors else None
    found = audit(
        panel, rows, questions, evidence, count=config.audit, threshold=config.open_threshold, anchors=anchors
    )
    scored = {
        name: SystemRun(**{**vars(run), "open": by_system[name]}) if run.open else run for name, run in runs.items()
    }
    return scored, found


def figures(
    asking: Asking,
    outcome: Outcome,
    *,
    before: Before | None,
    remarks: Sequence[str],
    provenance: Mapping[str, Any],
    rejected: Sequence[Rejection],
) -> results.Results:
    """All figures of the report."""
    config, runs = asking.needs.evaluation, outcome.runs
    changed, apart = _changed(asking, runs, before, provenance)
    return results.build(
        asking.source,
        runs,
        resamples=config.bootstrap,
        open_threshold=config.open_threshold,
        shown_questions=config.shown_questions,
        prices=config.prices,
        judging=outcome.judging,
        leak_probe=outcome.probes,
        changes=changed,
        regression=config.regression,
        remarks=[*remarks, *_about_form(runs), *_too_long(asking, runs), *apart],
        provenance={**provenance, **outcome.judged_by},
        rejected=rejected,
    )


def _about_form(runs: Mapping[str, SystemRun]) -> list[str]:
    """Remarks on systems of which many answers could not be read, or some were never asked: their accuracy is about form."""
    unread: list[str] = []
    unasked: list[str] = []
    for name, run in runs.items():
        given = at_the_end(run.answers)
        if (share := sum(answer.picked is None and not answer.problem for answer in given) / len(given)) > UNREAD:
            unread.append(f"{name} ({share:.0%})")
        if share := sum(bool(answer.problem) for answer in given) / len(given):
            unasked.append(f"{name} ({share:.0%})")
    told = {
        "many answers name no option, so these scores say little of what is known": unread,
        "prompts were over the model's context or refused, and count as wrong": unasked,
    }
    return [f"{', '.join(names)}: {what}" for what, names in told.items() if names]


def _too_long(asking: Asking, runs: Mapping[str, SystemRun]) -> list[str]:
    """A remark on histories of more chunks than a checkpoint was trained to read."""
    most = asking.needs.memory.max_chunks
    longest = max((step.index + 1 for run in runs.values() if run.role == "model" for step in run.steps), default=0)
    return [f"histories have up to {longest} chunks, and training reads {most}"] if longest > most else []


def _changed(
    asking: Asking, runs: Mapping[str, SystemRun], before: Before | None, provenance: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, list[str]]:
    """What changed since the report before; or, where the two cannot be compared, a remark that says why."""
    if before is None:
        return None, []
    source = asking.source
    try:
        found = changes(
            runs, before.directory, benchmark=asking.benchmark, orders=source.orders, seed=source.seed,
            resamples=asking.needs.evaluation.bootstrap, against=before.version,
            reading={name: provenance[name] for name in ("memory", "engine", "temperature")},
            configured=provenance["systems"],
        )  # fmt: skip
    except Incomparable as error:
        return None, [f"not compared with the report before: {error.problem}"]
    assert found is not None, "there is an earlier report"
    other = [f"{name}: configured otherwise than in the report before, so not compared" for name in found["left_out"]]
    return found, other


def write(
    directory: Path,
    found: Mapping[str, Any],
    runs: Mapping[str, SystemRun],
    *,
    curves: Mapping[str, Any],
    pooled: Mapping[str, Any] | None,
) -> None:
    """The report's files: page, figures, and all rows as Parquet."""
    write_report(
        directory,
        found,
        curves=curves,
        rows={
            "answers": (Answer, chain.from_iterable(run.answers for run in runs.values())),
            "open_answers": (OpenAnswer, chain.from_iterable(run.open for run in runs.values())),
            "memories": (MemoryStep, chain.from_iterable(run.steps for run in runs.values() if run.role == "model")),
        },
        pooled=pooled,
    )


def _tell(progress: Progress) -> Any:
    last = time.monotonic()

    def tell(judge: str, done: int, total: int) -> None:
        nonlocal last
        if progress.stop_requested:
            raise Interrupted(f"{judge} has judged {done} of {total} answers; all verdicts are in the endpoint's cache")
        if time.monotonic() - last > TELL_SECONDS:
            last = time.monotonic()
            progress.say("%s has judged %d of %d answers", judge, done, total)

    return tell
