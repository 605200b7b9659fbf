from __future__ import annotations

import json

import dagster as dg
import pytest

from assets.checks import PROMISES
from personamem_pipeline.demo import failures, materialize
from personamem_pipeline.lineage import GRAPH
from personamem_pipeline.questions.gather import read_histories
from personamem_pipeline.records import Persona
from resources.endpoint import EndpointResource
from tests.pipeline import DATA, Pipeline

SHARDED = [name for name in DATA if GRAPH[name].sharded]


def all_events(pipeline: Pipeline, name: str) -> list[dg.AssetMaterialization]:
    records = pipeline.instance.fetch_materializations(dg.AssetKey(name), limit=50).records
    return [record.asset_materialization for record in records if record.asset_materialization]


@pytest.mark.parametrize("name", DATA)
def test_every_materialization_carries_what_the_resolver_needs_and_stays_small(pipeline: Pipeline, name: str) -> None:
    events = all_events(pipeline, name)
    assert len(events) == (2 if GRAPH[name].sharded else 1)
    for event in events:
        assert {"version", "path", "parents", "failed_checks", "sample"} <= set(event.metadata)
        assert event.metadata["failed_checks"].value == ""
        assert len(event.metadata["sample"].records) <= 5  # type: ignore[union-attr]
        assert len(dg.serialize_value(event)) < 16 * 1024
        assert event.tags is not None
        assert event.tags["dagster/code_version"] != pipeline.instance.get_runs()[0].run_id


@pytest.mark.parametrize("name", DATA)
def test_every_promised_check_is_recorded_and_passed(pipeline: Pipeline, name: str) -> None:
    keys = [dg.AssetCheckKey(dg.AssetKey(name), check) for check in PROMISES[name]]
    records = pipeline.instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    assert {key.name for key in records} == set(PROMISES[name])
    assert all(record.status.value == "SUCCEEDED" for record in records.values())


def test_stages_that_ask_a_model_record_what_it_cost(pipeline: Pipeline) -> None:
    for name in ("personas", "conversations", "questions"):
        metadata = pipeline.metadata(name, "00")
        assert metadata["llm_calls"] > 0
        assert metadata["llm_completion_tokens"] > 0


def test_one_shard_built_again_alone_is_the_same_shard(pipeline: Pipeline) -> None:
    before = {name: pipeline.metadata(name, "01")["version"] for name in SHARDED}
    assert pipeline.run(*SHARDED, shards=("01",)).success
    assert {name: pipeline.metadata(name, "01")["version"] for name in SHARDED} == before
    assert pipeline.stale()[0].name == "base_model"


def test_shards_share_no_person_and_together_have_all(pipeline: Pipeline) -> None:
    shards = [
        {
            row.person_id
            for row in pipeline.store.read_rows("personas", pipeline.metadata("personas", s)["version"], Persona)
        }
        for s in pipeline.shards
    ]
    seeds = pipeline.preset.data.seeds
    assert not shards[0] & shards[1]
    assert len(shards[0] | shards[1]) == seeds.training_persons + seeds.benchmark_persons


def test_the_datasets_share_no_person(pipeline: Pipeline) -> None:
    training = read_histories(pipeline.store, "training_dataset", pipeline.metadata("training_dataset")["version"])
    benchmark = read_histories(pipeline.store, "benchmark", pipeline.metadata("benchmark")["version"])
    assert training and benchmark
    assert not {h.person_id for h in training} & {h.person_id for h in benchmark}


def test_the_stored_manifest_and_the_event_name_the_same_parents(pipeline: Pipeline) -> None:
    metadata = pipeline.metadata("questions", "01")
    assert pipeline.store.manifest("questions", metadata["version"]).parents == metadata["parents"]


def test_a_broken_seeds_file_fails_with_its_own_message(empty: Pipeline) -> None:
    broken = empty.home / "seeds.jsonl"
    broken.write_text(json.dumps({"persona": "A baker."}) + "\n{not json\n")
    seeds = empty.preset.data.seeds.model_copy(update={"file": str(broken)})
    data = empty.preset.data.model_copy(update={"seeds": seeds})
    empty.preset = empty.preset.model_copy(update={"data": data})
    result = empty.run("persona_seeds")
    assert not result.success
    failure = result.get_step_failure_events()[0].step_failure_data.user_failure_data
    assert failure is not None and f"{broken}:2" in (failure.description or "")
    assert not (empty.home / "store" / "persona_seeds").exists()


def test_a_budget_bounds_all_stages_of_a_run_together(empty: Pipeline) -> None:
    """Either stage alone would stay within it."""
    spent = {}
    for budget in (None, 1):
        endpoint = EndpointResource(model="simulator/1", budget_tokens=budget and sum(spent.values()) * 3 // 4)
        names = ["persona_seeds", "personas", "conversations"]
        result = materialize(empty.definitions(endpoint=endpoint), empty.instance, names, empty.shards)
        if budget is None:
            assert result.success
            for name in names[1:]:
                found = [empty.metadata(name, shard) for shard in empty.shards][-1]
                spent[name] = found["llm_prompt_tokens"] + found["llm_completion_tokens"]
            assert max(spent.values()) < sum(spent.values()) * 3 // 4 * 1.2
    failed = {name: message for name, message in failures(result)}
    assert list(failed) == ["conversations"] and "budget" in failed["conversations"]
