"""The stages that run as commands, with tiny commands in the real LocalProcess."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from dagster._utils.interrupts import capture_interrupts
from mlflow import MlflowClient

from assets.checkpoints import source_digest
from assets.checks import Outcome
from assets.report import RESULTS, _results, all_answers, judge_report
from assets.stages import Made
from personamem_pipeline.presets import Preset
from personamem_pipeline.store import Store
from resources.registry import CHAMPION, MODEL
from resources.tracking import Tracking
from tests.pipeline import Pipeline

TRAINED = ("base_model", "sft_checkpoint", "grpo_checkpoint", "benchmark_report")


def failure(result: dg.ExecuteInProcessResult) -> str:
    data = result.get_step_failure_events()[0].step_failure_data
    return (data.user_failure_data.description if data.user_failure_data else None) or data.error.to_string()


def runs(pipeline: Pipeline, name: str) -> list[str]:
    client = MlflowClient(tracking_uri=pipeline.settings.mlflow_uri)
    found = client.search_runs([e.experiment_id for e in client.search_experiments()], f"tags.asset = '{name}'")
    return [run.info.status for run in found]


def registry(pipeline: Pipeline) -> MlflowClient:
    return MlflowClient(tracking_uri=pipeline.settings.mlflow_uri, registry_uri=pipeline.settings.mlflow_uri)


def aliases(pipeline: Pipeline) -> dict[str, str]:
    return {name: str(version) for name, version in registry(pipeline).get_registered_model(MODEL).aliases.items()}


def test_the_whole_chain_is_recorded_and_then_fresh(pipeline: Pipeline) -> None:
    result = pipeline.run(*TRAINED)
    assert result.success
    assert pipeline.stale() == []
    metadata = pipeline.metadata("grpo_checkpoint")
    parents = {name: pipeline.metadata(name)["version"] for name in ("training_dataset", "sft_checkpoint")}
    assert metadata["parents"] == parents
    event = pipeline.instance.get_latest_materialization_event(dg.AssetKey("grpo_checkpoint"))
    assert event is not None and event.asset_materialization is not None
    tags = event.asset_materialization.tags or {}
    assert {name: tags[f"dagster/input_data_version/{name}"] for name in parents} == parents
    assert tags["dagster/data_version"] == metadata["version"] == Path(str(metadata["path"])).name
    passport = json.loads((Path(str(metadata["path"])) / "passport.json").read_text())
    assert passport["inputs"] == parents
    for name in TRAINED:
        assert runs(pipeline, name) == ["FINISHED"]
        record = pipeline.instance.get_latest_materialization_event(dg.AssetKey(name))
        assert record is not None and record.asset_materialization is not None
        assert len(dg.serialize_value(record.asset_materialization)) < 16 * 1024


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("refuse", "refused its input\nerror: somewhere: the dataset has no rows\n  to do:    materialize it again"),
        ("crash", "RuntimeError: out of luck"),
        ("silent", "reported 0 materializations instead of one"),
    ],
)
def test_a_command_that_does_not_end_well_materializes_nothing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, how: str, expected: str
) -> None:
    monkeypatch.setenv("PERSONAMEM_TEST_STAGE", f"base_model={how}")
    result = pipeline.run("base_model")
    assert not result.success
    assert expected in failure(result)
    assert pipeline.instance.get_latest_materialization_event(dg.AssetKey("base_model")) is None
    assert runs(pipeline, "base_model") == ["FAILED"]


def test_an_mlflow_that_is_away_hides_no_reason(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise ConnectionError("MLflow is away")

    monkeypatch.setenv("PERSONAMEM_TEST_STAGE", "base_model=refuse")
    monkeypatch.setattr(Tracking, "fail", away)
    assert "the dataset has no rows" in failure(pipeline.run("base_model"))


@pytest.mark.parametrize(
    ("how", "broken"),
    [("wrong_passport", "papers_agree"), ("cut", "loads_whole"), ("nan", "metrics_finite")],
)
def test_a_bad_checkpoint_blocks_what_comes_after_it(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, how: str, broken: str
) -> None:
    monkeypatch.setenv("PERSONAMEM_TEST_STAGE", f"sft_checkpoint={how}")
    assert not pipeline.run("base_model", "sft_checkpoint", "grpo_checkpoint").success
    assert pipeline.metadata("sft_checkpoint")["failed_checks"] == broken
    assert runs(pipeline, "sft_checkpoint") == ["FAILED"], "MLflow does not offer it as a finished training either"
    assert pipeline.instance.get_latest_materialization_event(dg.AssetKey("grpo_checkpoint")) is None
    assert f"failed its blocking check(s) {broken}" in failure(pipeline.run("grpo_checkpoint"))
    assert f"it failed {broken}" in [item.reason for item in pipeline.stale()]


def test_a_report_with_answers_missing_is_refused(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONAMEM_TEST_STAGE", "benchmark_report=few_answers")
    assert not pipeline.run(*TRAINED).success
    assert pipeline.metadata("benchmark_report")["failed_checks"] == "all_answers"


def test_a_report_of_one_system_is_refused() -> None:
    systems = [{"name": "base", "n": 4}]
    assert not all_answers({"benchmark": {"questions": 2, "option_orders": 2}, "systems": systems}).passed


def test_a_memory_that_changes_with_the_question_blocks(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONAMEM_TEST_STAGE", "benchmark_report=leak")
    assert not pipeline.run(*TRAINED).success
    assert pipeline.metadata("benchmark_report")["failed_checks"] == "causal_memories"


def test_a_regression_is_told_and_the_report_stands(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def regression() -> dg.AssetCheckEvaluation:
        key = dg.AssetCheckKey(dg.AssetKey("benchmark_report"), "no_regression")
        record = pipeline.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
        assert record.event is not None and record.event.asset_check_evaluation is not None
        return record.event.asset_check_evaluation

    assert pipeline.run(*TRAINED).success
    assert pipeline.metadata("benchmark_report")["gate"] == "personamem-grpo version 1 is the champion"
    first = str(pipeline.metadata("benchmark_report")["version"])
    assert regression().passed and regression().metadata["compared"].value == "no earlier report on this benchmark"
    other = pipeline.preset.grpo.model_copy(update={"steps": pipeline.preset.grpo.steps + 1})
    trained_more = replace(pipeline, preset=pipeline.preset.model_copy(update={"grpo": other}))
    monkeypatch.setenv("PERSONAMEM_TEST_STAGE", "benchmark_report=worse")
    assert trained_more.run("grpo_checkpoint", "benchmark_report").success
    found = regression()
    assert not found.passed and found.severity == dg.AssetCheckSeverity.ERROR
    assert found.metadata["compared"].value == f"with report {first[:12]}"
    assert found.metadata["examples"].value == ["grpo fell by 9.0 points"]
    assert found.metadata["flipped"].value[0]["question_id"] == "q1"
    assert trained_more.stale() == [], "it is a finding about the model, and the report is good"
    assert pipeline.metadata("grpo_checkpoint")["registered"] == "personamem-grpo version 2 is the candidate"
    assert pipeline.metadata("benchmark_report")["gate"] == "personamem-grpo version 2 is held back: no_regression"
    assert aliases(pipeline) == {"candidate": "2", "champion": "1"}
    third = trained_more.preset.grpo.model_copy(update={"steps": other.steps + 1})
    assert (
        replace(trained_more, preset=trained_more.preset.model_copy(update={"grpo": third}))
        .run("grpo_checkpoint", "benchmark_report")
        .success
    )
    assert regression().metadata["compared"].value == f"with report {first[:12]}", "a fall is no measure for the next"
    assert trained_more.run("grpo_checkpoint", "benchmark_report").success
    assert regression().metadata["compared"].value == f"with report {first[:12]}", "not with its own first making"


def with_steps(pipeline: Pipeline, steps: int) -> Pipeline:
    """The same installation, with a GRPO that goes on for so many steps: another checkpoint."""
    grpo = pipeline.preset.grpo.model_copy(update={"steps": steps})
    return replace(pipeline, preset=pipeline.preset.model_copy(update={"grpo": grpo}))


def compared_with(pipeline: Pipeline) -> str | None:
    """The report that the newest report was held against."""
    changes = _results(pipeline.store, str(pipeline.metadata("benchmark_report")["version"]))["changes"]
    return str(changes["against"]) if changes else None


def test_every_report_is_held_against_the_champions_and_a_fallen_one_gets_in_by_no_detour(pipeline: Pipeline) -> None:
    night = ("grpo_checkpoint", "benchmark_report")
    one, two, three = (with_steps(pipeline, steps) for steps in (1, 2, 3))
    assert one.run(*TRAINED).success
    first = str(pipeline.metadata("benchmark_report")["version"])
    kept = pipeline.home / "kept"
    shutil.move(pipeline.store.path("reports", first), kept)
    for again in (two, three):
        assert again.run(*night).success
        assert compared_with(pipeline) is None, "a report that was not compared is no measure beside a champion"
        assert "held back: not compared" in pipeline.metadata("benchmark_report")["gate"]
    shutil.move(kept, pipeline.store.root / "reports" / first)
    assert two.run(*night).success
    assert compared_with(pipeline) == first, "the champion's"
    assert pipeline.metadata("benchmark_report")["gate"] == "personamem-grpo version 2 is the champion"
    second = str(pipeline.metadata("benchmark_report")["version"])
    unwatched = three.preset.evaluation.regression.model_copy(update={"systems": ("base",)})
    evaluation = three.preset.evaluation.model_copy(update={"regression": unwatched})
    assert replace(three, preset=three.preset.model_copy(update={"evaluation": evaluation})).run(*night).success
    assert compared_with(pipeline) == second
    assert "held back: no system of evaluation.regression.systems" in pipeline.metadata("benchmark_report")["gate"]
    assert aliases(pipeline) == {"candidate": "4", "champion": "2"}


def test_a_champion_that_came_while_the_report_was_made_is_not_passed_over(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = ("grpo_checkpoint", "benchmark_report")
    assert pipeline.run(*TRAINED).success and with_steps(pipeline, 2).run(*night).success
    client = registry(pipeline)
    client.set_registered_model_alias(MODEL, CHAMPION, "1")

    def meanwhile(preset: Preset, made: Made) -> list[Outcome]:
        client.set_registered_model_alias(MODEL, CHAMPION, "2")
        return judge_report(preset, made)

    with monkeypatch.context() as patched:
        patched.setattr("assets.report.judge_report", meanwhile)
        assert with_steps(pipeline, 3).run(*night).success
    assert "while it was made another report became the measure" in pipeline.metadata("benchmark_report")["gate"]
    assert aliases(pipeline) == {"candidate": "3", "champion": "2"}
    assert with_steps(pipeline, 3).run("benchmark_report").success
    assert aliases(pipeline) == {"candidate": "3", "champion": "3"}


def test_a_reports_figures_are_read_after_their_digest_was_compared(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / RESULTS).write_text('{"changes": null}')
    version = store.put_directory("reports", tmp_path / "report", parents={}, producer={}).version
    assert _results(store, version) == {"changes": None}
    (store.path("reports", version) / RESULTS).write_text('{"changes": 1}')
    with pytest.raises(dg.Failure, match="sha256"):
        _results(store, version)


def test_an_interrupt_lets_the_command_save(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONAMEM_TEST_STAGE", "base_model=wait")
    scratch = pipeline.store.root / "scratch"

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while not list(scratch.glob("*/waiting")) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    with capture_interrupts():
        thread.start()
        result = pipeline.run("base_model")
        thread.join()
    assert not result.success
    assert [path.read_text() for path in scratch.glob("*/saved")] == ["step 1"]
    assert runs(pipeline, "base_model") == ["FAILED"]
    (process,) = (int(path.read_text()) for path in scratch.glob("*/waiting"))
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_the_base_models_fingerprint_follows_its_files(tmp_path: Path) -> None:
    bare = source_digest(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"12")
    first = source_digest(str(tmp_path))
    (tmp_path / "passport.json").write_text("{}")
    other = source_digest(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"13")
    assert len({bare, first, other, source_digest(str(tmp_path))}) == 4, "of the same size and with the same papers"
