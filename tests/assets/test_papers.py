"""Passport, Dagster and MLflow agree, and whatever does not is found and named: before it is recorded, and after."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from mlflow import MlflowClient

import assets.papers
import assets.stages
from assets.checks import RECORDS_AGREE, Outcome
from assets.papers import MLFLOW_RUN_ID, recorded
from personamem_pipeline.lineage import GRAPH
from personamem_pipeline.passports.card import CARD
from resources.registry import MODEL
from resources.tracking import Tracking
from tests.pipeline import Pipeline, small_preset

NAME = "grpo_checkpoint"
OTHER = "f" * 64


@pytest.fixture
def trained(tmp_path: Path, trained_home: Path) -> Iterator[Pipeline]:
    home = tmp_path / "home"
    shutil.copytree(trained_home, home)
    with dg.DagsterInstance.local_temp(str(home / "dagster")) as instance:
        yield Pipeline(home, instance, small_preset())


def version(pipeline: Pipeline, name: str = NAME) -> str:
    return str(pipeline.metadata(name)["version"])


def event(pipeline: Pipeline, name: str = NAME) -> dg.AssetMaterialization:
    record = pipeline.instance.get_latest_materialization_event(dg.AssetKey(name))
    assert record is not None and record.asset_materialization is not None
    return record.asset_materialization


def outcome(pipeline: Pipeline) -> Outcome:
    return recorded(pipeline.instance, NAME, pipeline.store, Tracking(uri=pipeline.settings.mlflow_uri))


def client(pipeline: Pipeline) -> MlflowClient:
    return MlflowClient(tracking_uri=pipeline.settings.mlflow_uri, registry_uri=pipeline.settings.mlflow_uri)


def run_of(pipeline: Pipeline) -> str:
    return str(pipeline.metadata(NAME)[MLFLOW_RUN_ID])


def test_what_was_recorded_agrees(trained: Pipeline) -> None:
    found = outcome(trained)
    assert found.passed and not found.problems
    for source in (
        "passport",
        "manifest",
        "making",
        "Dagster's tags",
        "MLflow's datasets",
        "MLflow's registered model",
    ):
        assert source in found.facts["sources"]
    assert (
        f"# {NAME} {version(trained)[:12]}" in trained.store.attachments("checkpoints", version(trained))[CARD].decode()
    )


def test_no_checked_parent_is_sharded() -> None:
    for name in ("base_model", "sft_checkpoint", NAME):
        assert not any(GRAPH[parent].sharded for parent in GRAPH[name].parents), "Dagster's version would be a digest"


def passport(pipeline: Pipeline) -> None:
    path = pipeline.store.path("checkpoints", version(pipeline)) / "passport.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps({**stated, "inputs": {**stated["inputs"], "sft_checkpoint": OTHER}}))


def manifest(pipeline: Pipeline) -> None:
    path = pipeline.store.path("checkpoints", version(pipeline)) / "manifest.json"
    path.write_text(path.read_text().replace(NAME, "sft_checkpoint"))


def making(change: Callable[[dict[str, Any]], None] | None) -> Callable[[Pipeline], None]:
    def edit(pipeline: Pipeline) -> None:
        (path,) = (pipeline.store.path("checkpoints", version(pipeline)) / "attached" / "makings").glob("*.json")
        if change is None:
            path.unlink()
            return
        stated = json.loads(path.read_text())
        change(stated)
        path.write_text(json.dumps(stated))

    return edit


def dagster(
    *, tags: dict[str, str] | None = None, metadata: dict[str, Any] | None = None
) -> Callable[[Pipeline], None]:
    """Another record of the same materialization, which says something else."""

    def edit(pipeline: Pipeline) -> None:
        old = event(pipeline)
        changed = dg.AssetMaterialization(
            NAME, metadata={**old.metadata, **(metadata or {})}, tags={**(old.tags or {}), **(tags or {})}
        )
        pipeline.instance.report_runless_asset_event(changed)

    return edit


def unnamed_run(pipeline: Pipeline) -> None:
    """As of a materialization that a person reported by hand."""
    old = event(pipeline)
    kept = {key: value for key, value in old.metadata.items() if key != MLFLOW_RUN_ID}
    pipeline.instance.report_runless_asset_event(dg.AssetMaterialization(NAME, metadata=kept, tags=old.tags))


def tag(name: str, value: str) -> Callable[[Pipeline], None]:
    return lambda pipeline: client(pipeline).set_tag(run_of(pipeline), name, value)


def dataset(pipeline: Pipeline) -> None:
    with sqlite3.connect(pipeline.home / "mlflow.db") as database:
        changed = database.execute("update input_tags set value = ? where name = 'version'", (OTHER,)).rowcount
    database.close()
    assert changed


def registered(pipeline: Pipeline) -> None:
    client(pipeline).set_model_version_tag(MODEL, "1", "input.sft_checkpoint", OTHER)


DAMAGE: list[tuple[str, Callable[[Pipeline], None], str]] = [
    ("passport", passport, "passport.json: sha256 is"),
    ("manifest", manifest, "the manifest's digest is"),
    ("making: event", making(lambda m: m["dagster"]["parents"].update(sft_checkpoint=1)), "checkpoint: the making says 1;"),
    ("making: of another version", making(lambda m: m.update(checkpoint=OTHER)), f"it is about {OTHER}"),
    ("making: MLflow run", making(lambda m: m.update(mlflow_run="r1")), "MLflow run: the making says r1;"),
    ("making: passport", making(lambda m: m.update(passport=OTHER)), "passport's sha256: the passport, the manifest say"),
    ("no making", making(None), "the making says nothing at all"),
    ("Dagster: version", dagster(tags={"dagster/data_version": OTHER}), "Dagster's tags says ffffffffffff"),
    ("Dagster: input", dagster(tags={"dagster/input_data_version/training_dataset": OTHER}), "input training_dataset: "),
    ("Dagster: event", dagster(tags={"dagster/input_event_pointer/training_dataset": "1"}), "event training_dataset: "),
    ("Dagster: code", dagster(tags={"dagster/code_version": "grpo/0"}), "Dagster's tags says grpo/0"),
    ("Dagster: run", dagster(), "Dagster run: "),
    ("Dagster: parents", dagster(metadata={"parents": {}}), "Dagster's metadata says nothing"),
    ("Dagster: MLflow run", dagster(metadata={MLFLOW_RUN_ID: "gone"}), "MLflow's run says nothing at all"),
    ("Dagster: no MLflow run", unnamed_run, "MLflow's run says nothing at all"),
    ("MLflow: input", tag("input.training_dataset", OTHER), "MLflow's run says ffffffffffff"),
    ("MLflow: version", tag("data_version", OTHER), "data version: the manifest"),
    ("MLflow: Dagster run", tag("dagster.run_id", "r2"), "MLflow's run says r2"),
    ("MLflow: asset", tag("asset", "sft_checkpoint"), "stage: "),
    ("MLflow: run deleted", lambda own: client(own).delete_run(run_of(own)), "MLflow's datasets says nothing at all"),
    ("MLflow: dataset", dataset, "MLflow's datasets says ffffffffffff"),
    ("MLflow: model", registered, "MLflow's registered model says ffffffffffff"),
]  # fmt: skip


@pytest.mark.parametrize(("break_it", "named"), [case[1:] for case in DAMAGE], ids=[case[0] for case in DAMAGE])
def test_every_disagreement_is_found_and_named(
    trained: Pipeline, break_it: Callable[[Pipeline], None], named: str
) -> None:
    break_it(trained)
    found = outcome(trained)
    assert not found.passed
    assert any(named in problem for problem in found.problems), found.problems


def test_a_parent_made_again_while_the_step_began_is_not_recorded_wrongly(
    trained: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Dagster looked at the parents before the body began; the body finds a newer one."""
    before, resolve = version(trained, "sft_checkpoint"), assets.stages.resolve
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "passport.json").write_text("{}")
    newer = trained.store.put_directory("checkpoints", tmp_path / "other", parents={}, producer={}).version

    def after_somebody_else(context: dg.AssetExecutionContext, *args: Any, **more: Any) -> Any:
        old = event(trained, "sft_checkpoint")
        tags = {**(old.tags or {}), "dagster/data_version": newer}
        context.instance.report_runless_asset_event(
            dg.AssetMaterialization("sft_checkpoint", metadata={**old.metadata, "version": newer}, tags=tags)
        )
        return resolve(context, *args, **more)

    monkeypatch.setattr(assets.stages, "resolve", after_somebody_else)
    unchecked = {"ops": {NAME: {"config": {"allow_failed_checks": True}}}}  # nobody has evaluated the newer one
    result = trained.run(NAME, "benchmark_report", config=unchecked)
    assert not result.success
    (evaluation,) = (each for each in result.get_asset_check_evaluations() if each.check_name == "papers_agree")
    examples = evaluation.metadata["examples"].value
    agreed = "the passport, the manifest, this run, MLflow's run, MLflow's datasets"
    assert f"input sft_checkpoint: {agreed} say {newer[:12]}; Dagster says {before[:12]}" in examples
    assert any(text.startswith("event sft_checkpoint: the making, this run say") for text in examples)
    assert trained.metadata(NAME)["failed_checks"] == "papers_agree"
    assert client(trained).get_run(run_of(trained)).info.status == "FAILED"
    assert "benchmark_report" not in {step.step_key for step in result.get_step_success_events()}


def test_a_record_that_disagrees_blocks_this_run_and_later_ones(
    trained: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = Tracking.finish

    def finish_and_forge(tracking: Tracking, run_id: str) -> None:
        finish(tracking, run_id)
        tracking._client().set_tag(run_id, "input.training_dataset", OTHER)

    with monkeypatch.context() as patch:
        patch.setattr(Tracking, "finish", finish_and_forge)
        assert not trained.run("sft_checkpoint", NAME).success
    assert trained.metadata("sft_checkpoint")["failed_checks"] == "", "the record looked right when it was made"
    refused = trained.run(NAME).get_step_failure_events()[0].step_failure_data.user_failure_data
    assert refused is not None and "failed its blocking check(s) records_agree" in str(refused.description)
    assert "it failed records_agree" in [item.reason for item in trained.stale()]
    with monkeypatch.context() as patch:
        patch.setattr(assets.papers, "recorded", _away)
        assert not evaluate_again(trained, "sft_checkpoint").success
    assert "it failed records_agree" in [item.reason for item in trained.stale()], "a crash is no second opinion"
    assert trained.run("sft_checkpoint", NAME).success, "made again, it is trusted again"
    with monkeypatch.context() as patch:
        patch.setattr(assets.papers, "recorded", _away)
        assert not trained.run("sft_checkpoint").success
    refused = trained.run(NAME).get_step_failure_events()[0].step_failure_data.user_failure_data
    assert refused is not None and "records_agree (not evaluated)" in str(refused.description)
    assert evaluate_again(trained, "sft_checkpoint").success and trained.run(NAME).success


def _away(*_: object) -> Outcome:
    raise ConnectionError("MLflow is away")


def evaluate_again(trained: Pipeline, name: str) -> dg.ExecuteInProcessResult:
    """`records_agree` alone, as from the UI."""
    job = (
        trained.definitions()
        .resolve_implicit_global_asset_job_def()
        .get_subset(asset_selection=set(), asset_check_selection={dg.AssetCheckKey(dg.AssetKey(name), RECORDS_AGREE)})
    )
    return job.execute_in_process(instance=trained.instance, raise_on_error=False)
