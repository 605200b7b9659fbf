"""A store as the data assets leave it, without Dagster: every shard names its maker, and the dataset its shards."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from personamem_pipeline.lineage import GRAPH, PASSPORT, shard_names
from personamem_pipeline.passports.records import FILE, Passport
from personamem_pipeline.personas.seeds import draw_seeds
from personamem_pipeline.presets import load_preset
from personamem_pipeline.questions.gather import gather
from personamem_pipeline.records import History, Persona, PersonaSeed, Question, Session
from personamem_pipeline.store import Store, write_json_atomically
from tests.rooms import SEEDS, rooms

AUTHOR, PROMPTS, SEEDS_FILE = "simulator/1", "f" * 64, "seeds.jsonl"
WRITTEN = ("personas", "conversations", "questions")
RECORDS: dict[str, type[BaseModel]] = {
    "persona_seeds": PersonaSeed,
    "personas": Persona,
    "conversations": Session,
    "histories": History,
    "questions": Question,
}


def stored_shards(store: Store, shards: int = 1, authors: Sequence[str] = (AUTHOR,)) -> dict[str, dict[str, str]]:
    """Stage -> shard -> version of everything in `tests.rooms`. Shards take turns with `authors`."""
    made = rooms()
    rows: dict[str, Sequence[Any]] = {
        "persona_seeds": draw_seeds(SEEDS, 0).rows, "personas": made.personas, "conversations": made.sessions,
        "histories": made.histories, "questions": made.questions,
    }  # fmt: skip
    people = [row.person_id for row in rows["persona_seeds"]]
    found: dict[str, dict[str, str]] = {}
    for stage, record in RECORDS.items():
        for number, shard in enumerate(shard_names(shards)):
            own = set(people[number::shards])
            producer = {"stage": stage, "code_version": f"{stage}/1"}
            if stage in WRITTEN:
                producer |= {"author": authors[number % len(authors)], "prompts": PROMPTS, "seed": "0"}
            if stage == "persona_seeds":
                producer |= {"seed": "0", f"{FILE}{SEEDS_FILE}": "a" * 64}
            parents = {name: found[name][shard] for name in GRAPH[stage].parents}
            manifest = store.write_rows(
                GRAPH[stage].kind, record, [row for row in rows[stage] if row.person_id in own],
                parents=parents, producer=producer,
            )  # fmt: skip
            found.setdefault(stage, {})[shard] = manifest.version
    return found


def stored_dataset(store: Store, shards: int = 1, authors: Sequence[str] = (AUTHOR,)) -> str:
    """The version of a training dataset of a dozen persons, with everything behind it."""
    made = stored_shards(store, shards, authors)
    gathered = gather(
        store, "training_dataset", histories=made["histories"], questions=made["questions"],
        personas=made["personas"], shards=shard_names(shards),
        producer={"stage": "training_dataset", "code_version": "gather/1"}, config=load_preset("demo").data.questions,
    )  # fmt: skip
    return gathered.manifest.version


def stored_model(store: Store, model: Any, tokenizer: Any) -> str:
    """The version of a model that training can start from: a `base_model`."""
    with tempfile.TemporaryDirectory() as name:
        model.save_pretrained(name)
        tokenizer.save_pretrained(name)
        passport = Passport(format=2, stage="base_model", inputs={}, code_version="base/1")
        write_json_atomically(Path(name) / PASSPORT, passport.model_dump(mode="json"))
        made = {"stage": "base_model", "code_version": "base/1"}
        return store.put_directory("checkpoints", Path(name), parents={}, producer=made).version
