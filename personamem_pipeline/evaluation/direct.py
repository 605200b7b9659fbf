"""Evaluating one model on one benchmark without the asset graph: what `personamem evaluate` runs.

The systems, the journal, the scoring and the report are the stage's; only where the model and the questions come from
differs. Nothing is put into the store but the replies that were kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from personamem_pipeline.evaluation import assemble
from personamem_pipeline.evaluation.asking import ANSWERS, Asking
from personamem_pipeline.evaluation.models import (
    ENDPOINT,
    Model,
    Models,
    directory_identity,
    endpoint_model,
    local_model,
)
from personamem_pipeline.evaluation.provenance import refuse_trained_on, refuse_trained_source
from personamem_pipeline.evaluation.runner import Runner, Spent
from personamem_pipeline.evaluation.source import Source
from personamem_pipeline.evaluation.systems.build import Needs, selected, unfamiliar
from personamem_pipeline.evaluation.timings import Timing, timings, write_beside
from personamem_pipeline.lineage import CHECKPOINTS, PASSPORT
from personamem_pipeline.memory.generators.find import PUBLISHED, FoundModel, find_model
from personamem_pipeline.passports.records import read_passport
from personamem_pipeline.passports.sources import BASE
from personamem_pipeline.presets import EvaluationConfig, MemoryConfig, SystemConfig
from personamem_pipeline.presets.evaluation import Reading
from personamem_pipeline.progress import Progress
from personamem_pipeline.records import Rejection
from personamem_pipeline.seeds import canonical_json
from personamem_pipeline.settings import Settings
from personamem_pipeline.store import Store

MODEL = "model"
"""What the one model is called in the systems."""


@dataclass(frozen=True)
class Direct:
    """What to evaluate, and how."""

    model: str
    """demo, latest, smollm2, a directory, or `endpoint`."""
    readings: Sequence[Reading]
    open: bool
    config: EvaluationConfig
    memory: Mapping[str, Any]
    """Fields of the memory protocol that replace the model's own."""


def evaluate_directly(
    direct: Direct, source: Source, rejected: Sequence[Rejection], settings: Settings, progress: Progress, out: Path
) -> tuple[dict[str, Any], list[Timing]]:
    """Ask, judge, score; write the report into `out`, and return its figures and how long the systems took."""
    store = Store(settings.store)
    local = None if direct.model == ENDPOINT else find_model(direct.model, settings)
    model, memory = _model(direct, local, progress)
    # A model has one memory of its own; the other readings need no second one of it.
    readings = list(dict.fromkeys(direct.readings))
    if "swapped_history" in readings and "memory" not in readings:
        readings.append("memory")  # whose memories are swapped
    systems = {
        reading: SystemConfig(reading=reading, model=MODEL, open=direct.open and reading == readings[0])
        for reading in readings
    }
    config = direct.config.model_copy(update={"systems": systems, "regression": _nothing_watched(direct.config)})
    config = EvaluationConfig.model_validate(config.model_dump())
    chosen, remarks = selected(config, memory, source)
    if local is not None:
        remarks += _training_of(local.directory, source, store)
        if _trained_on(local.directory) is not None:
            remarks += unfamiliar(chosen, memory, (MODEL,))
    if rejected:
        remarks.append(f"{len(rejected)} rows of the table cannot be asked; the first: {rejected[0].reason}")
    for remark in remarks:
        progress.say("%s", remark)
    models = Models({MODEL: model}, config)
    needs = Needs(models, config, memory, source, store.scratch)
    benchmark = content_digest(source)
    asking = Asking(benchmark, needs, chosen, store.scratch / ANSWERS)
    spent = Spent(config.prices, config.budget_tokens)
    runner = Runner(source, progress, spent)
    outcome = assemble.ask_and_judge(asking, runner)
    found = assemble.figures(
        asking, outcome, before=None, remarks=remarks, rejected=rejected,
        provenance=_provenance(direct, model, memory, config, benchmark),
    )  # fmt: skip
    assemble.write(out, found, outcome.runs, curves={}, pooled=None)
    times = timings(asking.journals, {name: run.label for name, run in outcome.runs.items()})
    write_beside(out, times)
    progress.say("this run asked for %s", spent)
    return found, times


def first_people(source: Source, count: int) -> Source:
    """The same benchmark with its first `count` people only."""
    kept = set(islice(source.by_person, count))
    return replace(source, questions=[question for question in source.questions if question.person_id in kept])


def content_digest(source: Source) -> str:
    """SHA-256 over every question and the histories they are about: what a benchmark outside the store is known by."""
    sha = hashlib.sha256()
    for person in source.people():
        sha.update(canonical_json([person.history.model_dump(mode="json"), person.profile]).encode())
        for question in person.questions:
            sha.update(canonical_json(question.model_dump(mode="json")).encode())
    return sha.hexdigest()


def _model(direct: Direct, found: FoundModel | None, progress: Progress) -> tuple[Model, MemoryConfig]:
    if found is None:
        return endpoint_model(lambda: progress.stop_requested), PUBLISHED.model_copy(update=dict(direct.memory))
    model = local_model(direct.model, directory_identity(found.directory), found.directory, direct.config)
    return model, found.memory.model_copy(update=dict(direct.memory))


def _training_of(directory: Path, source: Source, store: Store) -> list[str]:
    """Refuses a checkpoint of this project that was trained on the people asked about; a remark where nobody can tell."""
    if not (directory / PASSPORT).is_file():
        return []
    passport = read_passport(directory)
    if passport.stage == BASE:
        refuse_trained_source(directory)
    elif passport.base and store.has(CHECKPOINTS, passport.base):
        refuse_trained_source(store.path(CHECKPOINTS, passport.base))
    version = passport.inputs.get("training_dataset")
    if version is None:
        return []
    dataset = store.path("training_dataset", version)
    if not dataset.is_dir():
        return [
            f"whether the model was trained on these people cannot be told: training_dataset {version[:12]} is not here"
        ]
    refuse_trained_on(dataset, set(source.by_person))
    return []


def _trained_on(directory: Path) -> str | None:
    """The training_dataset of a checkpoint of this project; None for any other model."""
    return read_passport(directory).inputs.get("training_dataset") if (directory / PASSPORT).is_file() else None


def _nothing_watched(config: EvaluationConfig) -> Any:
    return config.regression.model_copy(update={"systems": ()})


def _provenance(
    direct: Direct, model: Model, memory: MemoryConfig, config: EvaluationConfig, benchmark: str
) -> dict[str, Any]:
    return {
        "model": direct.model,
        "identity": model.identity,
        "versions": {"benchmark": benchmark},
        "memory": memory.model_dump(mode="json"),
        "engine": config.engine,
        "temperature": config.temperature,
    }
