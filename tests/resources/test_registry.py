"""The registered model: candidate by training, champion by the report's gate alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from personamem_pipeline.passports.comparing import CODE, VERSION, disagreements
from resources.registry import CANDIDATE, CHAMPION, DESCRIPTION_CHARACTERS, MODEL, Champion, Judged, _source
from resources.tracking import Tracking

DATASET = "ab" * 32
CONTEXT: Any = SimpleNamespace(run=SimpleNamespace(run_id="dagster-run"), retry_number=0)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('registry') / 'mlflow.db'}"


@pytest.fixture
def tracking(uri: str) -> Tracking:
    """An MLflow without registered models."""
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)
    return Tracking(uri=uri)


def offered(tracking: Tracking, version: str, card: str = "card") -> tuple[str, str]:
    """The run of a checkpoint that was offered, and what offering it said."""
    inputs = {"training_dataset": (DATASET, "/store/training_dataset")}
    run_id = tracking.start(CONTEXT, "grpo_checkpoint", {"code_version": "grpo/4"}, inputs)
    tracking.record(run_id, version, {"loss": 0.25}, f"/store/checkpoints/{version}")
    said = tracking.offer(run_id, tracking.log_model(run_id, {"loss": 0.25}), card)
    tracking.finish(run_id)
    return run_id, said


def named(tracking: Tracking, alias: str) -> ModelVersion | None:
    model = tracking._client().get_registered_model(MODEL)
    return tracking._client().get_model_version(MODEL, model.aliases[alias]) if alias in model.aliases else None


def number(tracking: Tracking, alias: str) -> str | None:
    found = named(tracking, alias)
    return str(found.version) if found else None


def verdict(version: str, *, compared: bool = True) -> Judged:
    return Judged(version, f"report-{version}", f"card of {version}", compared)


def test_every_new_checkpoint_is_the_candidate_and_names_what_it_comes_from(tracking: Tracking) -> None:
    run_id, said = offered(tracking, "v1", card="x" * 9000)
    assert said == f"{MODEL} version 1 is the candidate"
    found = named(tracking, CANDIDATE)
    assert found is not None and found.run_id == run_id
    assert found.tags["data_version"] == "v1"
    assert found.tags["input.training_dataset"] == DATASET
    assert found.tags["dagster.run_id"] == "dagster-run"
    assert found.source == found.tags["path"] == "/store/checkpoints/v1"
    assert len(found.description) == DESCRIPTION_CHARACTERS
    offered(tracking, "v2")
    assert (number(tracking, CANDIDATE), number(tracking, CHAMPION)) == ("2", None), "nobody has judged anything yet"


def test_the_same_checkpoint_made_again_is_the_same_version(tracking: Tracking) -> None:
    for version in ("v1", "v2", "v1"):
        offered(tracking, version)
    assert number(tracking, CANDIDATE) == "1"
    assert len(tracking._client().search_model_versions(f"name = '{MODEL}'")) == 2


def test_only_a_report_without_doubts_moves_the_champion(tracking: Tracking) -> None:
    for version in ("v1", "v2"):
        offered(tracking, version)
    assert tracking.judged(verdict("v1", compared=False), []) == f"{MODEL} version 1 is the champion"
    assert tracking.judged(verdict("v2"), ["no_regression"]) == f"{MODEL} version 2 is held back: no_regression"
    assert number(tracking, CHAMPION) == "1"
    held = named(tracking, CANDIDATE)
    assert held is not None
    assert (held.tags["gate"], held.tags["report"]) == ("held back: no_regression", "report-v2")
    assert held.description == "card of v2"
    assert tracking.judged(verdict("v2"), []) == f"{MODEL} version 2 is the champion"
    champion = named(tracking, CHAMPION)
    assert champion is not None and champion.tags["gate"] == "passed"


def test_without_a_comparison_a_champion_is_not_replaced(tracking: Tracking) -> None:
    for version in ("v1", "v2"):
        offered(tracking, version)
    tracking.judged(verdict("v1", compared=False), [])
    assert "not compared with a report before, and version 1" in tracking.judged(verdict("v2", compared=False), [])
    assert number(tracking, CHAMPION) == "1"
    assert tracking.judged(verdict("v1", compared=False), []) == f"{MODEL} version 1 is the champion", "it stays itself"


def test_the_report_that_ends_last_does_not_bring_an_older_champion_back(tracking: Tracking) -> None:
    """Two reports overlap: the one about version 1 began before, and ends after, version 2 became the champion."""
    for version in ("v1", "v2"):
        offered(tracking, version)
    assert tracking.judged(verdict("v2", compared=False), []) == f"{MODEL} version 2 is the champion"
    said = tracking.judged(verdict("v1"), [])
    assert said == f"{MODEL} version 1 passed, and version 2, which is newer, stays the champion"
    assert number(tracking, CHAMPION) == "2"
    offered(tracking, "v1")
    assert tracking.judged(verdict("v1"), []) == f"{MODEL} version 1 is the champion", "training made it again"


@pytest.mark.parametrize("by_hand", ["1", None])
def test_a_champion_that_a_person_replaced_stays_replaced(by_hand: str | None, tracking: Tracking) -> None:
    for version in ("v1", "v2", "v3"):
        offered(tracking, version)
    tracking.judged(verdict("v1", compared=False), [])
    assert tracking.judged(verdict("v2"), []) == f"{MODEL} version 2 is the champion"
    client = tracking._client()
    if by_hand:
        client.set_registered_model_alias(MODEL, CHAMPION, by_hand)
    else:
        client.delete_registered_model_alias(MODEL, CHAMPION)
    said = tracking.judged(verdict("v2"), [])
    assert said.endswith(f"held back: it was the champion, and somebody moved the alias to version {by_hand}")
    assert number(tracking, CHAMPION) == by_hand
    assert tracking.judged(verdict("v3"), []) == f"{MODEL} version 3 is the champion", "a newer one may take its place"


def test_the_champion_names_the_report_that_it_passed(uri: str, tracking: Tracking, tmp_path: Path) -> None:
    assert Tracking(uri=f"sqlite:///{tmp_path / 'none.db'}").champion() is None and not list(tmp_path.iterdir())
    assert tracking.champion() is None, "no model is registered"
    for version in ("v1", "v2"):
        offered(tracking, version)
    assert tracking.champion() is None
    tracking.judged(verdict("v1", compared=False), [])
    tracking.judged(verdict("v2"), ["no_regression"])
    assert tracking.champion() == Champion("v1", "report-v1")
    fallen = Judged("v1", "later report", "card", compared=True)
    tracking.judged(fallen, ["no_regression"])
    assert tracking.champion() == Champion("v1", "report-v1"), "one that it fell in is no measure for the next"
    assert tracking.aliases() == {CANDIDATE: "v2", CHAMPION: "v1", "report of the champion": "report-v1"}
    tracking._client().set_registered_model_alias(MODEL, CHAMPION, "2")
    assert tracking.champion() == Champion("v2", "report-v2"), "a person may move it"


def test_a_checkpoint_that_was_never_registered_is_told(tracking: Tracking) -> None:
    offered(tracking, "v1")
    assert "materialize grpo_checkpoint again" in tracking.judged(verdict("v9"), [])
    assert number(tracking, CHAMPION) is None


def test_what_mlflow_states_of_a_run(tracking: Tracking) -> None:
    run_id, _ = offered(tracking, "v1")
    run, datasets, model = tracking.says(run_id)
    assert run.facts[CODE] == "grpo/4" and run.facts[VERSION] == "v1"
    assert datasets.facts == {"input training_dataset": DATASET}
    assert model.facts == {"input training_dataset": DATASET, VERSION: "v1"}
    assert disagreements([run, datasets, model]) == []
    for missing in ("0" * 32, ""):
        assert [bool(own.facts) for own in tracking.says(missing)] == [False, False]


def test_a_champion_can_be_loaded_by_its_alias(
    uri: str, tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With MLflow on this machine's disk the registered model leads to the checkpoint itself."""
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "config.json").write_text("{}")
    run_id = tracking.start(CONTEXT, "grpo_checkpoint", {}, {})
    tracking.record(run_id, "v1", {}, tmp_path / "checkpoint")
    tracking.offer(run_id, tracking.log_model(run_id, {}), "card")
    tracking.judged(verdict("v1"), [])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    found = mlflow.artifacts.download_artifacts(f"models:/{MODEL}@{CHAMPION}")
    assert (Path(found) / "config.json").is_file()


def test_a_server_is_not_given_a_path_of_this_machine() -> None:
    server: Any = SimpleNamespace(tracking_uri="http://mlflow:5000")
    model = SimpleNamespace(artifact_location="mlflow-artifacts:/1/models/m-1/artifacts")
    assert _source(server, "/store/checkpoints/v1", model) == model.artifact_location
    assert _source(server, "s3://bucket/checkpoints/v1", model) == "s3://bucket/checkpoints/v1"
