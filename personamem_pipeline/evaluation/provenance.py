"""Where a report comes from, and whether it may be made: inputs followed upwards through manifests and passports.

Fails closed: a checkpoint whose dataset is gone or changed, or that was trained on people of the benchmark, is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from personamem_pipeline.arrow import column, stream_parquet
from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import CHECKPOINTS, GRAPH, PASSPORT
from personamem_pipeline.passports.chain import Thing, walk
from personamem_pipeline.passports.records import read_passport
from personamem_pipeline.passports.sources import BASE, trained_source
from personamem_pipeline.presets import Preset, SystemConfig
from personamem_pipeline.questions.copying import HISTORIES
from personamem_pipeline.records import Rejection
from personamem_pipeline.store import REJECTED, Store


def provenance(store: Store, inputs: Mapping[str, str], preset: Preset, code_version: str) -> dict[str, Any]:
    """The report's provenance block; every file of the inputs and of their parents is hashed again on the way."""
    rows = lineage(store, inputs)
    return {
        "preset": preset.name,
        "preset_digest": preset.digest,
        "code_version": code_version,
        # From the passports: the evaluating process may have been started with other settings than the trainings were.
        "trainings": {name: _training(store, inputs[f"{name}_checkpoint"]) for name in ("sft", "grpo")},
        "memory": preset.memory.model_dump(mode="json"),
        "engine": preset.evaluation.engine,
        "temperature": preset.evaluation.temperature,
        "systems": {name: _plain(system, preset) for name, system in preset.evaluation.systems.items()},
        "versions": dict(sorted(inputs.items())),
        "lineage": rows,
        "remarks": _remarks(rows, inputs),
    }


def _plain(system: SystemConfig, preset: Preset) -> dict[str, Any]:
    """A system's settings, with what its search is set to where it searches."""
    search = {"retrieval": preset.evaluation.retrieval.model_dump(mode="json")}
    return (search if system.reading in ("bm25", "embedding", "mem0") else {}) | {
        key: value for key, value in system.model_dump(mode="json").items() if value not in (None, "", False)
    }


def _training(store: Store, version: str) -> dict[str, Any]:
    """How a checkpoint was trained: its section of the preset, and on what."""
    passport = read_passport(store.path(CHECKPOINTS, version))
    return {"training_dataset": passport.inputs.get("training_dataset"), **passport.preset["section"]}


def lineage(store: Store, inputs: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row per input and per unsharded parent, inputs first. Shards are named by their versions only."""
    rows: list[dict[str, Any]] = []

    def unsharded_parents(thing: Thing) -> dict[str, str]:
        directory = store.verified(thing.kind, thing.version)
        manifest = store.manifest(thing.kind, thing.version)
        parents = dict(manifest.parents)
        if (directory / PASSPORT).is_file():
            parents |= read_passport(directory).inputs
        rows.append(
            {
                "name": thing.name,
                "kind": thing.kind,
                "version": thing.version,
                "producer": dict(sorted(manifest.producer.items())),
                "parents": dict(sorted(parents.items())),
            }
        )
        return {name: version for name, version in parents.items() if name in GRAPH and not GRAPH[name].sharded}

    walk(inputs, unsharded_parents)
    return rows


def refuse_shared_persons(store: Store, rows: Sequence[Mapping[str, Any]], persons: set[str]) -> None:
    """Refuse checkpoints that were trained on people of the benchmark, or that do not say on whom they were trained."""
    for row in rows:
        if row["name"] == BASE:
            refuse_trained_source(store.path(row["kind"], row["version"]))
        if "training_dataset" in GRAPH[row["name"]].parents and "training_dataset" not in row["parents"]:
            raise UserError(
                "the checkpoint does not say which training_dataset it was trained on",
                where=store.path(row["kind"], row["version"]),
                expected="its version among the parents in manifest.json or passport.json",
                remedy=f"materialize {row['name']} again",
            )
        if row["name"] != "training_dataset":
            continue
        refuse_trained_on(store.path(row["kind"], row["version"]), persons)


def refuse_trained_source(base_model: Path) -> None:
    """Refuse a base model that was copied from a checkpoint of this project: on whom that was trained is not stated."""
    if source := trained_source(read_passport(base_model)):
        raise UserError(
            f"the base model was copied from a {source}, and on whom that was trained cannot be told",
            where=base_model / PASSPORT,
            expected="a base model that comes from elsewhere",
            remedy="set base.path of the preset to such a model, and materialize base_model and what is below it again",
        )


def refuse_trained_on(training_dataset: Path, persons: set[str]) -> None:
    """Refuse people who are in a training dataset's directory."""
    path = training_dataset / HISTORIES
    if shared := sorted(persons.intersection(column(path, "person_id"))):
        raise UserError(
            f"{len(shared)} people of the benchmark are in the training data, the first is {shared[0]}",
            where=path,
            expected="checkpoints trained on other people than the benchmark's",
            remedy="materialize training_dataset and benchmark from the same shards, then train again",
        )


def rejected_rows(store: Store, benchmark_version: str) -> list[Rejection]:
    """What was planned or written for the benchmark and is not in it, with the reasons: the dataset's own list."""
    return list(stream_parquet(store.verified("benchmark", benchmark_version) / REJECTED, Rejection))


def _remarks(rows: Sequence[Mapping[str, Any]], inputs: Mapping[str, str]) -> list[str]:
    """Where a checkpoint started from another parent than the one that stands beside it in the report."""
    return [
        f"{row['name']} was trained from {name} {version[:12]}, but the report shows {name} {inputs[name][:12]}"
        for row in rows
        if inputs.get(row["name"]) == row["version"]
        for name, version in row["parents"].items()
        if name in inputs and inputs[name] != version
    ]
