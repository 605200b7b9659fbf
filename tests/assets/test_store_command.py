"""`personamem store gc` on a real installation: what it shows, deletes and refuses."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import dagster as dg
import pytest

from personamem_pipeline.cli import main
from personamem_pipeline.lineage import GRAPH
from personamem_pipeline.store import MANIFEST
from resources.registry import MODEL
from resources.tracking import Tracking
from tests.pipeline import DATA, Pipeline

DAY = 24 * 3600.0


@dg.job
def anything() -> None: ...


def environment(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell on this installation has it, but for an MLflow that nobody made."""
    monkeypatch.setenv("PERSONAMEM_HOME", str(pipeline.home))
    monkeypatch.setenv("DAGSTER_HOME", str(pipeline.home / "dagster"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{pipeline.home / 'none.db'}")


def checkpoint(pipeline: Pipeline, number: int) -> str:
    """Version of one that Dagster does not know."""
    made = pipeline.home / "made"
    made.mkdir(exist_ok=True)
    (made / "weights").write_bytes(bytes(5000))
    return pipeline.store.put_directory("checkpoints", made, parents={}, producer={"n": str(number)}).version


def grow_old(pipeline: Pipeline) -> None:
    """As if the store were two days older."""
    then = time.time() - 2 * DAY
    for path in pipeline.store.root.rglob("*"):
        os.utime(path, (then, then))


def held(pipeline: Pipeline) -> set[Path]:
    return set(pipeline.store.root.rglob("*"))


def test_the_command_shows_then_deletes(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment(pipeline, monkeypatch)
    store = pipeline.store
    kept, old = (checkpoint(pipeline, number) for number in range(2))
    before = {kind: set(store.versions(kind)) for kind in {GRAPH[name].kind for name in DATA}}
    assert main(["store", "gc"]) == 0
    assert "in all: 0 B to free" in capsys.readouterr().out
    grow_old(pipeline)
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


def test_what_a_run_has_put_stays_while_it_goes_on(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment(pipeline, monkeypatch)
    run = pipeline.instance.create_run_for_job(anything, status=dg.DagsterRunStatus.STARTED)
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


@pytest.mark.parametrize("named", ["by MLflow", "by hand"])
def test_a_wrong_dagster_home_deletes_nothing_though_others_know_the_store(
    named: str,
    pipeline: Pipeline,
    empty: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment(pipeline, monkeypatch)
    monkeypatch.setenv("DAGSTER_HOME", str(empty.home / "dagster"))
    champion = checkpoint(pipeline, 0)
    grow_old(pipeline)
    before = held(pipeline)
    if named == "by MLflow":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", pipeline.settings.mlflow_uri)
        client = Tracking(uri=pipeline.settings.mlflow_uri)._client()
        client.create_registered_model(MODEL)
        client.create_model_version(MODEL, source="/somewhere", tags={"data_version": champion})
        client.set_registered_model_alias(MODEL, "champion", "1")
    assert main(["store", "gc", "--delete", *(["--keep", champion] if named == "by hand" else [])]) == 2
    assert "belong together" in capsys.readouterr().err
    assert held(pipeline) == before


def test_a_living_thing_without_a_manifest_deletes_nothing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment(pipeline, monkeypatch)
    dataset = pipeline.metadata("training_dataset")["version"]
    checkpoint(pipeline, 0)
    (pipeline.store.path(GRAPH["training_dataset"].kind, dataset) / MANIFEST).unlink()
    grow_old(pipeline)
    before = held(pipeline)
    for mode in ([], ["--delete"], ["--delete", "--although-missing"]):
        assert main(["store", "gc", *mode]) == 2
        said = capsys.readouterr()
        assert dataset in said.err and "has no manifest" in said.err and "deleted" not in said.out
    assert held(pipeline) == before


def test_to_keep_half_of_a_thing_is_refused(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment(pipeline, monkeypatch)
    half = checkpoint(pipeline, 0)
    (pipeline.store.path("checkpoints", half) / MANIFEST).unlink()
    grow_old(pipeline)
    assert main(["store", "gc", "--delete", "--keep", half[:10]]) == 2
    assert half in capsys.readouterr().err
    assert pipeline.store.path("checkpoints", half).is_dir()


def test_what_a_missing_thing_came_from_goes_only_when_told_to(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment(pipeline, monkeypatch)
    dataset = pipeline.metadata("training_dataset")["version"]
    unknown = checkpoint(pipeline, 0)
    shutil.rmtree(pipeline.store.path(GRAPH["training_dataset"].kind, dataset))
    grow_old(pipeline)
    assert main(["store", "gc"]) == 0
    said = capsys.readouterr().out
    assert f"not in the store, though alive: training_dataset {dataset[:12]}" in said
    assert "nothing was deleted; --delete --although-missing does it" in said
    before = held(pipeline)
    assert main(["store", "gc", "--delete"]) == 2
    assert "say --although-missing" in capsys.readouterr().err and held(pipeline) == before
    assert main(["store", "gc", "--delete", "--although-missing"]) == 0
    assert not pipeline.store.has("checkpoints", unknown)
