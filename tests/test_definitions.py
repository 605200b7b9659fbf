from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import dagster as dg
import pytest

from personamem_pipeline.definitions import build_defs
from personamem_pipeline.lineage import GRAPH, ancestors, combined_version, shard_names
from personamem_pipeline.memory import prompts
from resources.store import StoreResource
from tests.pipeline import settings_at

NIGHT = datetime(2026, 11, 22, 3, 0, tzinfo=timezone.utc)  # noqa: UP017
SCHEDULES = ("nightly_evaluation", "nightly_evaluation_always")


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    return build_defs(settings_at(Path("/nowhere")))


def test_the_graph_is_the_one_in_lineage(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == set(GRAPH)
    for name, node in GRAPH.items():
        asset = graph.get(dg.AssetKey(name))
        assert {key.to_user_string() for key in asset.parent_keys} == set(node.parents)
        assert (asset.partitions_def is not None) == node.sharded
        assert asset.group_name == node.group
        assert asset.description and asset.kinds and not asset.owners
        assert asset.code_version and "+" in asset.code_version
        assert asset.backfill_policy == dg.BackfillPolicy.single_run()


def test_every_promise_blocks_and_says_what_it_is(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    checked = set()
    for key in graph.asset_check_keys:
        spec = graph.get_check_spec(key)
        assert spec.description
        assert spec.blocking == (key.name != "no_regression"), "a worse model is no fault of the report"
        checked.add(key.asset_key.to_user_string())
    assert checked == set(GRAPH)


def test_resources_can_be_replaced_one_by_one() -> None:
    other = build_defs(settings_at(Path("/nowhere")), resources={"store": StoreResource(root="/elsewhere")})
    assert other.resources is not None
    assert other.resources["store"].root == "/elsewhere"
    assert other.resources["tracking"].uri == "sqlite:////nowhere/mlflow.db"


def evaluate(defs: dg.Definitions, instance: dg.DagsterInstance, name: str) -> dg.RunRequest | dg.SkipReason:
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=NIGHT, repository_def=defs.get_repository_def()
    )
    data = defs.resolve_schedule_def(name).evaluate_tick(context)
    return data.run_requests[0] if data.run_requests else dg.SkipReason(data.skip_message)


def record(instance: dg.DagsterInstance, name: str, **tags: str) -> None:
    named = {f"dagster/{key.replace('__', '/')}": value for key, value in tags.items()}
    instance.report_runless_asset_event(dg.AssetMaterialization(name, tags=named))


def test_the_nightly_evaluation_skips_what_was_evaluated(defs: dg.Definitions, tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for name in SCHEDULES:
            assert evaluate(defs, instance, name) == dg.SkipReason("there is no grpo_checkpoint yet")
        record(instance, "grpo_checkpoint", data_version="v1")
        record(instance, "benchmark", data_version="b1")
        assert isinstance(evaluate(defs, instance, "nightly_evaluation"), dg.RunRequest)
        seen = {"input_data_version__grpo_checkpoint": "v1", "input_data_version__benchmark": "b1"}
        record(instance, "benchmark_report", **seen)
        skipped = evaluate(defs, instance, "nightly_evaluation")
        assert skipped == dg.SkipReason("grpo_checkpoint v1 was already evaluated on this benchmark")
        assert isinstance(evaluate(defs, instance, "nightly_evaluation_always"), dg.RunRequest)
        record(instance, "benchmark", data_version="b2")
        assert isinstance(evaluate(defs, instance, "nightly_evaluation"), dg.RunRequest)
        record(instance, "benchmark_report", **{**seen, "input_data_version__benchmark": "b2"})
        record(instance, "grpo_checkpoint", data_version="v2")
        request = evaluate(defs, instance, "nightly_evaluation")
        assert isinstance(request, dg.RunRequest) and request.run_key is not None
        assert request.run_key.startswith("v2@")


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_run_at_three_utc_and_are_off_until_somebody_wants_them(defs: dg.Definitions, name: str) -> None:
    schedule = defs.resolve_schedule_def(name)
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 3 * * *", "UTC")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED


def test_ancestors_come_parents_first() -> None:
    assert ancestors("sft_checkpoint") == [*list(GRAPH)[:6], "base_model"]
    assert ancestors("persona_seeds") == []
    for position, name in enumerate(GRAPH):
        assert set(GRAPH[name].parents) <= set(list(GRAPH)[:position])


def test_shards_and_their_common_version() -> None:
    assert shard_names(3) == ("00", "01", "02")
    assert combined_version({"00": "a"}) == "a"
    assert combined_version({"00": "a", "01": "b"}) == combined_version({"01": "b", "00": "a"})
    assert combined_version({"00": "a", "01": "b"}) != combined_version({"00": "b", "01": "a"})


def test_a_changed_memory_prompt_makes_exactly_its_readers_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    def versions() -> dict[str, str | None]:
        graph = build_defs(settings_at(Path("/nowhere"))).resolve_asset_graph()
        return {name: graph.get(dg.AssetKey(name)).code_version for name in GRAPH}

    before = versions()
    monkeypatch.setitem(prompts._WRITE["compact"], "chunk_first", "Please. {chunk} {memory}")
    after = versions()
    changed = {name for name in GRAPH if before[name] != after[name]}
    assert changed == {"sft_checkpoint", "grpo_checkpoint", "benchmark_report"}


def test_shards_may_have_runs_of_their_own() -> None:
    apart = settings_at(Path("/nowhere")).model_copy(update={"shard_runs": "apart"})
    graph = build_defs(apart).resolve_asset_graph()
    for name, node in GRAPH.items():
        policy = dg.BackfillPolicy.multi_run(1) if node.sharded else dg.BackfillPolicy.single_run()
        assert graph.get(dg.AssetKey(name)).backfill_policy == policy


def test_stages_on_gpus_share_a_pool(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    pooled = {name for name in GRAPH if graph.get(dg.AssetKey(name)).pools == {"h100"}}
    assert pooled == {"sft_checkpoint", "grpo_checkpoint", "benchmark_report"}
