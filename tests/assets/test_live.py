"""What garbage collection must not touch, as Dagster and MLflow know it; and the command on a real installation."""

from __future__ import annotations

import os
import time
from typing import Any

import dagster as dg
import pytest

from assets.live import live_versions, registered_versions
from personamem_pipeline.cli import main
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


def test_the_command_shows_then_deletes(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment(pipeline, monkeypatch)
    store = pipeline.store
    extra = pipeline.home / "extra"
    extra.mkdir()
    (extra / "weights").write_bytes(bytes(5000))
    kept, old = (
        store.put_directory("checkpoints", extra, parents={}, producer={"n": str(n)}).version for n in range(2)
    )
    before = {kind: set(store.versions(kind)) for kind in {GRAPH[name].kind for name in DATA}}
    assert main(["store", "gc"]) == 0
    assert "in all: 0 B to free" in capsys.readouterr().out
    then = time.time() - 2 * DAY
    for path in store.root.rglob("*"):
        os.utime(path, (then, then))
    assert main(["store", "gc", "--keep", kept[:10]]) == 0
    said = capsys.readouterr().out
    assert f"goes: checkpoints/{old[:12]}" in said and kept[:12] not in said and "nothing was deleted" in said
    assert set(store.versions("checkpoints")) == {kept, old}
    assert main(["store", "gc", "--keep", kept[:10], "--delete"]) == 0
    assert "deleted: 5." in capsys.readouterr().out
    assert store.versions("checkpoints") == [kept]
    for kind, versions in before.items():
        assert set(store.versions(kind)) == versions
        for version in versions:
            store.check(kind, version)
    assert main(["store", "gc", "--keep", "zz"]) == 2
    assert "no version begins with 'zz'" in capsys.readouterr().err


def environment(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell on this installation has it, but for an MLflow that nobody made."""
    monkeypatch.setenv("PERSONAMEM_HOME", str(pipeline.home))
    monkeypatch.setenv("DAGSTER_HOME", str(pipeline.home / "dagster"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{pipeline.home / 'none.db'}")


def test_what_a_run_has_put_stays_while_it_goes_on(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment(pipeline, monkeypatch)
    run = pipeline.instance.create_run_for_job(_job(), status=dg.DagsterRunStatus.STARTED)
    extra = pipeline.home / "extra"
    extra.mkdir()
    (extra / "rows").write_bytes(b"a shard of many")
    made = pipeline.store.put_directory("personas", extra, parents={}, producer={}).version
    time.sleep(0.5)
    collect = ["store", "gc", "--delete", "--keep-reports", "0", "--hours", "0.0001"]
    assert main(collect) == 0
    assert pipeline.store.has("personas", made), "a third of a second is long over, and the run is not"
    pipeline.instance.delete_run(run.run_id)
    assert main(collect) == 0
    assert not pipeline.store.has("personas", made), capsys.readouterr().out


def test_an_mlflow_that_knows_no_model_deletes_nothing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment(pipeline, monkeypatch)
    event = dg.AssetMaterialization("grpo_checkpoint", metadata={"version": "a" * 64})
    pipeline.instance.report_runless_asset_event(event)
    assert main(["store", "gc", "--delete"]) == 2
    assert "this MLflow names no registered model" in capsys.readouterr().err
    assert main(["store", "gc", "--without-mlflow"]) == 0


def test_the_wrong_dagster_home_deletes_nothing(
    pipeline: Pipeline, empty: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PERSONAMEM_HOME", str(pipeline.home))
    monkeypatch.setenv("DAGSTER_HOME", str(empty.home / "dagster"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{empty.home / 'none.db'}")
    assert main(["store", "gc", "--delete", "--hours", "0"]) == 2
    assert "belong together" in capsys.readouterr().err
    assert all(pipeline.store.versions(GRAPH[name].kind) for name in DATA)


def _job() -> dg.JobDefinition:
    @dg.job
    def anything() -> None: ...

    return anything
