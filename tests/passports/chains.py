"""A small whole chain, from a seeds' file to a grpo_checkpoint: real rows of every data room, tiny checkpoints."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from personamem_pipeline.lineage import GRAPH, PASSPORT
from personamem_pipeline.passports.chain import Thing
from personamem_pipeline.passports.finding import FoundCheckpoint
from personamem_pipeline.passports.links import Verification
from personamem_pipeline.passports.making import attach_making
from personamem_pipeline.passports.records import FILE, ROWS, DagsterOrigin, Hardware, Making
from personamem_pipeline.passports.rewarded import REWARDS
from personamem_pipeline.passports.sources import data_behind
from personamem_pipeline.passports.used import rows_text, rows_used, summary
from personamem_pipeline.passports.verify import verify
from personamem_pipeline.personas.seeds import draw_seeds
from personamem_pipeline.presets import QuestionsConfig
from personamem_pipeline.questions.gather import GatheredKind, gather, read_questions
from personamem_pipeline.records import PersonaSeed
from personamem_pipeline.seeds import digest
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.store import Store, sha256_file
from tests.rooms import SEEDS, rooms

SHARDS = ("00", "01")
SEEDS_FILE = "seeds.jsonl"
TABLES = "personamem_pipeline/personas/tables/simulator.yaml"
PACKAGES = {"torch": "2.13.0"}
WIDE = QuestionsConfig(max_slice_blind=1.0, max_length_guess=1.0, max_type_shift=1.0, max_topic_share=1.0)


@dataclass
class Chain:
    """A store, the project that its seeds' file lies in, and the versions of the unsharded assets."""

    store: Store
    project: Path
    versions: dict[str, str]
    shards: dict[str, dict[str, str]]
    """Asset -> shard -> version."""

    def directory(self, name: str, shard: str | None = None) -> Path:
        version = self.shards[name][shard] if shard else self.versions[name]
        return self.store.path(GRAPH[name].kind, version)

    def label(self, name: str, shard: str | None = None) -> str:
        return Thing(name, self.shards[name][shard] if shard else self.versions[name], shard).label

    def verify(self, name: str = "grpo_checkpoint") -> Verification:
        return verify(self.store, FoundCheckpoint(self.versions[name]), project=self.project)


def build(root: Path) -> Chain:
    """The whole chain under `root`: two shards, one step of SFT per four questions, GRPO on the first four."""
    project = root / "project"
    project.mkdir(parents=True)
    seeds_file = project / SEEDS_FILE
    seeds_file.write_text("the persons of an experiment\n")
    chain = Chain(Store(root / "store"), project, {}, {})
    made = rooms()
    seeds = draw_seeds(SEEDS, 0).rows
    tables = project / TABLES
    tables.parent.mkdir(parents=True)
    shutil.copy(PROJECT / TABLES, tables)
    source = {f"{FILE}{SEEDS_FILE}": sha256_file(seeds_file), f"{FILE}{TABLES}": sha256_file(tables), "seed": "0"}
    written = {"author": "simulator/1", "prompts": digest("prompts"), "seed": "0"}
    _shards(chain, "persona_seeds", seeds, source)
    _shards(chain, "personas", made.personas, written)
    _shards(chain, "conversations", made.sessions, written)
    _shards(chain, "histories", made.histories, {})
    _shards(chain, "questions", made.questions, written)
    for kind in ("training_dataset", "benchmark"):
        chain.versions[kind] = gathered(chain, kind)
    chain.versions["base_model"] = checkpoint(chain, "base_model", {})
    trained(chain)
    for name in ("base_model", "sft_checkpoint", "grpo_checkpoint"):
        attach_making(chain.store, making(chain, name))
    return chain


def trained(chain: Chain) -> None:
    """Both checkpoints of the chain's training dataset and base model."""
    ids = [(row.question_id, row.person_id) for row in questions(chain)]
    sft = [[row for pair in ids[start : start + 4] for row in pair] for start in range(0, len(ids) - 4, 4)]
    chain.versions["sft_checkpoint"] = checkpoint(chain, "sft_checkpoint", {}, sft)
    chain.versions["grpo_checkpoint"] = checkpoint(chain, "grpo_checkpoint", {}, [[row for row, _ in ids[:4]]])


def questions(chain: Chain) -> list[Any]:
    return read_questions(chain.store, "training_dataset", chain.versions["training_dataset"])


def gathered(chain: Chain, kind: GatheredKind) -> str:
    made = gather(
        chain.store, kind, personas=chain.shards["personas"], histories=chain.shards["histories"],
        questions=chain.shards["questions"], shards=SHARDS, producer={"stage": kind, "code_version": "gather/3"},
        config=WIDE,
    )  # fmt: skip
    return made.manifest.version


def checkpoint(
    chain: Chain, stage: str, changed: Mapping[str, Any], steps: Sequence[Sequence[str]] = (), *, weights: bytes = b""
) -> str:
    """Store a tiny checkpoint of a stage; `changed` replaces fields of its passport."""
    inputs = {name: chain.versions[name] for name in GRAPH[stage].parents}
    section: dict[str, Any] = {"steps": len(steps)} if steps else {"path": "models/tiny"}
    used = rows_used(steps)
    passport: dict[str, Any] = {
        "stage": stage, "inputs": inputs, "code_version": f"{stage}/1", "format": 2, "packages": PACKAGES,
        "preset": {"name": "tiny", "section": section, "digest": digest(section)},
    }  # fmt: skip
    if steps:
        data = data_behind(chain.store, "training_dataset", chain.versions["training_dataset"])
        passport |= {"base": chain.versions["base_model"], "data": data.model_dump(mode="json"), "rows": summary(used)}
    if stage == "grpo_checkpoint":
        section["rewards"] = {"choice": 1.0}
        passport["preset"]["digest"] = digest(section)
        passport["reward"] = reward({"choice": 1.0})
    passport |= changed
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        (directory / PASSPORT).write_text(json.dumps(passport))
        (directory / "model.safetensors").write_bytes(weights or f"weights of {stage}".encode())
        if steps:
            (directory / ROWS).write_text(rows_text(used))
        producer = {"stage": stage, "code_version": f"{stage}/1", "config": digest(section)}
        return chain.store.put_directory("checkpoints", directory, parents=inputs, producer=producer).version


def reward(
    weights: Mapping[str, float], judge: str | None = None, prompts: str | None = None, constant: str = REWARDS
) -> dict[str, Any]:
    """A passport's reward, whose version is the digest of the rest."""
    stated = {"weights": dict(weights), "judge": judge, "judge_prompts": prompts}
    return {"version": digest([constant, stated]), **stated}


def making(chain: Chain, name: str, **changed: Any) -> Making:
    """A making of one of the chain's checkpoints."""
    parents = {parent: number for number, parent in enumerate(GRAPH[name].parents)}
    fields: dict[str, Any] = {
        "checkpoint": chain.versions[name],
        "passport": sha256_file(chain.directory(name) / PASSPORT),
        "finished": "2026-11-23T10:00:00Z",
        "dagster": DagsterOrigin(run_id="run-1", asset=name, parents=parents),
        "mlflow_run": None,
        "git": None,
        "image": None,
        "hardware": Hardware(machine="Linux x86_64", processors=2, memory_bytes=1),
        "python": "3.11.7",
        "packages": {**PACKAGES, "rich": "15"},
    }
    return Making(**fields | changed)


def _shards(chain: Chain, name: str, rows: Sequence[Any], made_by: Mapping[str, str]) -> None:
    """Deal rows to the shards by person, and store them with the shards of the parents as parents."""
    persons = sorted({row.person_id for row in rows})
    of = {person: SHARDS[index % len(SHARDS)] for index, person in enumerate(persons)}
    if name != "persona_seeds":
        seeds = _shard_of_persons(chain)
        of = {person: seeds[person] for person in persons}
    chain.shards[name] = {}
    for shard in SHARDS:
        own: list[BaseModel] = [row for row in rows if of[row.person_id] == shard]
        manifest = chain.store.write_rows(
            GRAPH[name].kind,
            type(rows[0]),
            own,
            parents={parent: chain.shards[parent][shard] for parent in GRAPH[name].parents},
            producer={"stage": name, "code_version": f"{name}/1", **made_by},
            rejected=[],
        )
        chain.shards[name][shard] = manifest.version


def _shard_of_persons(chain: Chain) -> dict[str, str]:
    """Person -> the shard that their seed is in."""
    return {
        row.person_id: shard
        for shard, version in chain.shards["persona_seeds"].items()
        for row in chain.store.read_rows("persona_seeds", version, PersonaSeed)
    }
