from __future__ import annotations

import shutil

import dagster as dg
import pytest

from tests.pipeline import Pipeline

SMALL_STEPS = ["conversations", "histories"]


def message(result: dg.ExecuteInProcessResult) -> str:
    failure = result.get_step_failure_events()[0].step_failure_data.user_failure_data
    assert failure is not None
    return failure.description or ""


@pytest.fixture
def failing_personas(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """The installation after a run in which a blocking check of `personas` shard 00 failed."""
    with monkeypatch.context() as patch:
        patch.setattr("assets.personas.incomplete", lambda row: "made to fail")
        assert not pipeline.run("personas", shards=("00",)).success
    return pipeline


def test_without_parents_it_says_what_to_materialize_first_and_how(empty: Pipeline) -> None:
    assert message(empty.run("grpo_checkpoint")) == (
        "grpo_checkpoint needs training_dataset and sft_checkpoint, not materialized yet.\n"
        "  materialize first: persona_seeds, personas, conversations, histories, questions, training_dataset, "
        "base_model, sft_checkpoint\n"
        "  command:           dagster asset materialize --select '*grpo_checkpoint'"
    )


def test_only_what_is_missing_is_named(pipeline: Pipeline) -> None:
    text = message(pipeline.run("grpo_checkpoint"))
    assert "needs sft_checkpoint, not" in text
    assert "materialize first: base_model, sft_checkpoint\n" in text


def test_a_missing_shard_is_missing(empty: Pipeline) -> None:
    assert empty.run("persona_seeds", shards=("00",)).success
    assert "personas needs persona_seeds" in message(empty.run("personas"))


def test_a_later_run_refuses_a_parent_whose_blocking_check_failed(failing_personas: Pipeline) -> None:
    text = message(failing_personas.run(*SMALL_STEPS))
    assert "personas shard 00" in text
    assert "whole_persons" in text
    assert "allow_failed_checks" in text


def test_the_refusal_can_be_overridden_in_the_run_configuration(failing_personas: Pipeline) -> None:
    config = {"ops": {name: {"config": {"allow_failed_checks": True}} for name in SMALL_STEPS}}
    assert failing_personas.run(*SMALL_STEPS, config=config).success


def test_a_good_shard_does_not_hide_a_bad_one(failing_personas: Pipeline) -> None:
    assert failing_personas.run("personas", shards=("01",)).success
    assert "personas shard 00" in message(failing_personas.run(*SMALL_STEPS))
    assert failing_personas.run("personas", shards=("00",)).success
    assert failing_personas.run(*SMALL_STEPS).success


def test_a_parent_that_was_changed_on_disk_is_refused(pipeline: Pipeline) -> None:
    version = pipeline.metadata("personas", "00")["version"]
    rows = pipeline.store.path("personas", version) / "rows.parquet"
    rows.write_bytes(rows.read_bytes()[:-1])
    text = message(pipeline.run("conversations"))
    assert str(rows) in text
    assert "materialize again" in text


def test_a_parent_that_is_gone_from_disk_is_refused(pipeline: Pipeline) -> None:
    shutil.rmtree(pipeline.store.path("personas", pipeline.metadata("personas", "00")["version"]))
    assert "no manifest" in message(pipeline.run("conversations"))
