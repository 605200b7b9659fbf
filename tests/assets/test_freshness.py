from __future__ import annotations

import shutil

from tests.pipeline import Pipeline

TRAINED = ["base_model", "sft_checkpoint", "grpo_checkpoint", "benchmark_report"]
FROM_HISTORIES = ["histories", "questions", "training_dataset", "benchmark"]


def names(pipeline: Pipeline) -> list[str]:
    return [item.name for item in pipeline.stale()]


def test_what_was_never_built_is_stale_parents_first(pipeline: Pipeline) -> None:
    assert names(pipeline) == TRAINED
    assert {item.reason for item in pipeline.stale()} == {"never materialized"}


def test_data_gone_from_disk_make_their_shard_and_all_below_stale(pipeline: Pipeline) -> None:
    shutil.rmtree(pipeline.store.path("histories", pipeline.metadata("histories", "01")["version"]))
    stale = pipeline.stale()
    assert [item.name for item in stale] == [*FROM_HISTORIES, *TRAINED]
    assert (stale[0].shards, stale[1].shards, stale[2].shards) == (("01",), ("01",), ())
    assert stale[0].reason == "its data are not in the store"
    assert stale[1].reason == "histories is out of date"


def test_a_changed_section_makes_exactly_its_stages_stale(pipeline: Pipeline) -> None:
    section = pipeline.preset.data.histories.model_copy(update={"tokens": 500})
    data = pipeline.preset.data.model_copy(update={"histories": section})
    pipeline.preset = pipeline.preset.model_copy(update={"data": data})
    assert names(pipeline) == [*FROM_HISTORIES, *TRAINED]
    assert pipeline.stale()[0].reason == "its code or configuration changed"


def test_a_parent_built_differently_since_makes_its_child_stale(pipeline: Pipeline) -> None:
    section = pipeline.preset.data.conversations.model_copy(update={"small_talk": 1})
    other = pipeline.preset.data.model_copy(update={"conversations": section})
    changed = Pipeline(pipeline.home, pipeline.instance, pipeline.preset.model_copy(update={"data": other}))
    assert changed.run("conversations", shards=("01",)).success
    stale = changed.stale()
    assert (stale[0].name, stale[0].shards) == ("conversations", ("00",))
    assert changed.run("conversations", shards=("00",)).success
    stale = changed.stale()
    assert stale[0].name == "histories"
    assert stale[0].shards == ("00", "01")
    assert stale[0].reason == "conversations changed since"


def test_a_rebuilt_parent_with_the_same_rows_leaves_its_child_fresh(pipeline: Pipeline) -> None:
    assert pipeline.run("conversations").success
    assert names(pipeline) == TRAINED
