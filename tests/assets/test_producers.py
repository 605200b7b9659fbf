"""Every shard says who wrote it: which model, with which prompts and seed, from which files. Passports are read off this."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import assets.personas
from personamem_pipeline.lineage import GRAPH
from personamem_pipeline.passports.records import FILE
from personamem_pipeline.passports.sources import data_behind
from personamem_pipeline.personas.review import INSTRUCTIONS as REVIEW
from personamem_pipeline.personas.write import INSTRUCTIONS
from personamem_pipeline.questions.released_cli import export_command
from personamem_pipeline.seeds import digest
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.store import sha256_file
from tests.assets.test_released_dataset import released
from tests.pipeline import DATA, Pipeline, small_preset

TABLES = "personamem_pipeline/personas/tables/simulator.yaml"
WRITTEN = ("personas", "conversations", "questions")


def producers(pipeline: Pipeline, stage: str) -> list[dict[str, str]]:
    """Of every shard of a stage."""
    versions = [pipeline.metadata(stage, shard)["version"] for shard in pipeline.shards]
    return [pipeline.store.manifest(GRAPH[stage].kind, version).producer for version in versions]


def authors(pipeline: Pipeline) -> dict[str, Any]:
    data = data_behind(pipeline.store, "training_dataset", pipeline.metadata("training_dataset")["version"])
    found = {author.stage: author for author in data.authors}
    assert len(found) == len(data.authors), "all shards of a stage were made alike"
    return found


def test_what_a_model_wrote_names_the_model_the_prompts_and_the_seed(pipeline: Pipeline) -> None:
    found = authors(pipeline)
    assert list(found) == ["persona_seeds", *WRITTEN[:2], "histories", "questions"]
    prompts = {found[stage].prompts for stage in WRITTEN}
    assert len(prompts) == 3 and digest([INSTRUCTIONS, REVIEW]) in prompts
    for stage in WRITTEN:
        assert (found[stage].author, found[stage].seed) == ("simulator/1", str(pipeline.preset.data.seed))
    assert {len(author.shards) for author in found.values()} == {len(pipeline.shards)}
    assert found["histories"].author is None and not found["histories"].files


def test_seeds_name_their_tables(pipeline: Pipeline) -> None:
    found = authors(pipeline)["persona_seeds"]
    assert found.files == {TABLES: sha256_file(PROJECT / TABLES)} and found.seed == str(pipeline.preset.data.seed)


def test_seeds_of_a_file_name_it_with_its_digest(empty: Pipeline, tmp_path: Path) -> None:
    file = tmp_path / "people.jsonl"
    file.write_text("".join(json.dumps({"persona": f"Person number {number}."}) + "\n" for number in range(40)))
    seeds = empty.preset.data.seeds.model_copy(update={"file": str(file)})
    pipeline = Pipeline(empty.home, empty.instance, small_preset(seeds=seeds))
    assert pipeline.run("persona_seeds").success
    for producer in producers(pipeline, "persona_seeds"):
        assert producer[f"{FILE}{file}"] == sha256_file(file) and f"{FILE}{TABLES}" in producer


def test_another_prompt_is_another_author(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    before = producers(pipeline, "personas")[0]
    monkeypatch.setattr(assets.personas, "INSTRUCTIONS", INSTRUCTIONS + " Be brief.")
    assert pipeline.run("personas").success
    after = producers(pipeline, "personas")[0]
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"prompts", "code_version"}


def test_released_data_name_their_files(pipeline: Pipeline, tmp_path: Path) -> None:
    files = tmp_path / "files"
    export_command(["training_dataset", "benchmark"], files, pipeline.store)
    (tmp_path / "reader" / "dagster").mkdir(parents=True)
    with dg.DagsterInstance.local_temp(str(tmp_path / "reader" / "dagster")) as instance:
        preset = small_preset().model_copy(update={"data": released(files)})
        reader = Pipeline(tmp_path / "reader", instance, preset)
        assert reader.run(*DATA).success
        found = authors(reader)
        named = {f"{files}/benchmark/text/{name}.csv" for name in ("train", "benchmark")}
        for author in found.values():
            assert author.files == {name: sha256_file(Path(name)) for name in named}
            assert author.author is author.prompts is author.seed is None
        for stage in ("conversations", "histories"):
            chats = [producer["chats"] for producer in producers(reader, stage)]
            assert len(set(chats)) == len(reader.shards), "each shard reads other chats"
        before = producers(reader, "histories")
        for chat in files.rglob("*.json"):
            chat.write_text(chat.read_text() + " ")
        assert reader.run("conversations", "histories").success
        changed = [a["chats"] != b["chats"] for a, b in zip(before, producers(reader, "histories"), strict=True)]
        assert all(changed)
