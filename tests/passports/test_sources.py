"""Where a checkpoint comes from: who wrote the rows behind it, and the base model at the bottom."""

from __future__ import annotations

from pathlib import Path

import pytest

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.lineage import CHECKPOINTS, PASSPORT, ancestors
from personamem_pipeline.passports.records import Passport
from personamem_pipeline.passports.sources import base_of, data_behind
from personamem_pipeline.store import Store, write_json_atomically
from tests.rooms import rooms
from tests.stored import AUTHOR, PROMPTS, SEEDS_FILE, stored_dataset

PARENT = "b" * 64


def test_every_stage_behind_the_data_is_named_with_its_shards(tmp_path: Path) -> None:
    store = Store(tmp_path)
    version = stored_dataset(store, shards=2)
    data = data_behind(store, "training_dataset", version)
    assert (data.dataset, data.version) == ("training_dataset", version)
    assert [author.stage for author in data.authors] == ancestors("training_dataset")
    by_stage = {author.stage: author for author in data.authors}
    named = store.manifest("training_dataset", version).parents
    for stage in ("personas", "histories", "questions"):
        assert by_stage[stage].shards == (named[f"{stage}/00"], named[f"{stage}/01"])
    assert by_stage["questions"].rows == len(rooms().questions)
    assert (by_stage["questions"].author, by_stage["questions"].prompts, by_stage["questions"].seed) == (
        AUTHOR,
        PROMPTS,
        "0",
    )
    assert by_stage["histories"].author is by_stage["histories"].prompts is by_stage["histories"].seed is None
    assert by_stage["persona_seeds"].files == {SEEDS_FILE: "a" * 64} and not by_stage["personas"].files


def test_a_stage_that_two_models_wrote_stands_there_twice(tmp_path: Path) -> None:
    store = Store(tmp_path)
    data = data_behind(store, "training_dataset", stored_dataset(store, shards=3, authors=("one", "two")))
    written = [author for author in data.authors if author.stage == "questions"]
    assert [(author.author, len(author.shards)) for author in written] == [("one", 2), ("two", 1)]
    assert sum(author.rows for author in written) == len(rooms().questions)
    assert len([author for author in data.authors if author.stage == "histories"]) == 1


def test_a_missing_shard_ends_the_walk(tmp_path: Path) -> None:
    store = Store(tmp_path)
    version = stored_dataset(store)
    (seeds,) = store.versions("persona_seeds")
    (store.path("persona_seeds", seeds) / "manifest.json").unlink()
    with pytest.raises(IntegrityError, match="no manifest"):
        data_behind(store, "training_dataset", version)


def test_a_shard_without_a_maker_cannot_be_traced(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "file").write_text("rows")
    shard = store.put_directory("questions", tmp_path / "rows", parents={}, producer={"stage": "questions"})
    dataset = store.put_directory(
        "training_dataset", tmp_path / "rows", parents={"questions/00": shard.version}, producer={}
    )
    with pytest.raises(IntegrityError, match="which code made it"):
        data_behind(store, "training_dataset", dataset.version)


@pytest.mark.parametrize(
    ("passport", "base"),
    [
        (Passport(format=2, stage="base_model", inputs={}, code_version="c"), None),
        (Passport(stage="base_model", inputs={}, code_version="c"), None),
        (
            Passport(format=2, stage="grpo_checkpoint", inputs={"sft_checkpoint": "c"}, code_version="c", base=PARENT),
            PARENT,
        ),
        (Passport(stage="sft_checkpoint", inputs={"base_model": PARENT}, code_version="c"), PARENT),
    ],
    ids=["itself", "itself, format 1", "stated", "format 1: among the inputs"],
)
def test_the_base_is_the_one_at_the_bottom(passport: Passport, base: str | None, tmp_path: Path) -> None:
    store, version = stored(tmp_path, passport)
    assert base_of(store, version) == (base or version)


def test_a_checkpoint_without_a_base_cannot_be_traced(tmp_path: Path) -> None:
    old = Passport(stage="grpo_checkpoint", inputs={"sft_checkpoint": PARENT}, code_version="c")
    store, version = stored(tmp_path, old)
    with pytest.raises(IntegrityError, match="which base model"):
        base_of(store, version)


def stored(root: Path, passport: Passport) -> tuple[Store, str]:
    store, source = Store(root / "store"), root / "source"
    source.mkdir()
    write_json_atomically(source / PASSPORT, passport.model_dump(mode="json"))
    return store, store.put_directory(CHECKPOINTS, source, parents={}, producer={}).version
