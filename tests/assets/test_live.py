"""What garbage collection must not touch, as Dagster and MLflow know it."""

from __future__ import annotations

import time
from typing import Any

import dagster as dg
import pytest

from assets.live import live_versions, registered_versions
from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import GRAPH
from resources.tracking import Tracking
from tests.pipeline import DATA, Pipeline

DAY = 24 * 3600.0


def shards_and_whole(pipeline: Pipeline, *names: str) -> dict[str, str]:
    """Version -> asset (and shard), of the latest materializations."""
    found = {}
    for name in names:
        for shard in pipeline.shards if GRAPH[name].sharded else (None,):
            found[pipeline.metadata(name, shard)["version"]] = name + (f"/{shard}" if shard else "")
    return found


def test_the_latest_of_each_asset_and_shard_is_alive(pipeline: Pipeline) -> None:
    now = time.time()
    assert live_versions(pipeline.instance, since=now) == (shards_and_whole(pipeline, *DATA), now)


def test_what_was_the_latest_at_that_time_or_since_is_alive_too(pipeline: Pipeline) -> None:
    def report(version: str) -> float:
        event = dg.AssetMaterialization("grpo_checkpoint", metadata={"version": version})
        pipeline.instance.report_runless_asset_event(event)
        time.sleep(0.02)
        return time.time()

    def alive(since: float) -> set[str]:
        found, _ = live_versions(pipeline.instance, since=since)
        return {version for version, name in found.items() if name == "grpo_checkpoint"}

    first, second, third = report("first"), report("second"), report("third")
    assert alive(third) == {"third"} and alive(second) == {"second", "third"}
    assert alive(first) == {"first", "second", "third"}
    # A run that began then and has not ended may still read what was the latest then.
    run = pipeline.instance.create_run_for_job(_job(), status=dg.DagsterRunStatus.STARTED)
    report("fourth")
    assert alive(time.time()) == {"third", "fourth"}
    assert first < live_versions(pipeline.instance, since=time.time())[1] < time.time()
    assert live_versions(pipeline.instance, since=first)[1] == first
    pipeline.instance.delete_run(run.run_id)
    assert alive(time.time()) == {"fourth"}


def test_a_materialization_reported_by_hand_is_named(pipeline: Pipeline) -> None:
    pipeline.instance.report_runless_asset_event(dg.AssetMaterialization("sft_checkpoint"))
    with pytest.raises(UserError, match=r"^sft_checkpoint, event \d+ of 20.*names no version"):
        live_versions(pipeline.instance, since=time.time())


def test_old_history_is_not_read(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        event = dg.AssetMaterialization("grpo_checkpoint", metadata={"version": str(number)})
        pipeline.instance.report_runless_asset_event(event)
    expected = {**shards_and_whole(pipeline, *DATA), "4": "grpo_checkpoint"}
    pages = []
    fetch = pipeline.instance.fetch_materializations

    def counted(key: dg.AssetKey, **how: Any) -> Any:
        pages.append(key.to_user_string())
        return fetch(key, **how)

    monkeypatch.setattr("assets.live.PAGE", 1)
    monkeypatch.setattr(pipeline.instance, "fetch_materializations", counted)
    live, _ = live_versions(pipeline.instance, since=time.time())
    assert live == expected
    assert pages.count("grpo_checkpoint") == 1 and pages.count("personas") == len(pipeline.shards)


def test_registered_models_are_alive(pipeline: Pipeline) -> None:
    from resources.registry import MODEL

    tracking = Tracking(uri=pipeline.settings.mlflow_uri)
    assert registered_versions(Tracking(uri=f"sqlite:///{pipeline.home / 'none.db'}")) == {}
    assert registered_versions(tracking) == {}
    client = tracking._client()
    client.create_registered_model(MODEL)
    for number, version in (("1", "a" * 64), ("2", "b" * 64), ("3", "c" * 64)):
        client.create_model_version(MODEL, source="/somewhere", tags={"data_version": version})
        client.set_registered_model_alias(MODEL, {"1": "champion", "3": "candidate"}.get(number, "old"), number)
    client.delete_registered_model_alias(MODEL, "old")
    assert registered_versions(tracking) == {"a" * 64: "champion", "c" * 64: "candidate"}


def _job() -> dg.JobDefinition:
    @dg.job
    def anything() -> None: ...

    return anything
