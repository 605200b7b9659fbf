"""The record of a making: beside the version and no part of it, one for each run, and refused when it is of another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.lineage import CHECKPOINTS, PASSPORT
from personamem_pipeline.passports import code, hardware
from personamem_pipeline.passports.making import attach_making, installed, making_of, makings
from personamem_pipeline.passports.records import MAKINGS, DagsterOrigin
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.stage_job import StageJob, StageResult
from personamem_pipeline.store import Store, sha256_file
from tests.pipeline import settings_at, small_preset

ORIGIN = DagsterOrigin(run_id="run-1", asset="sft_checkpoint", retry=1, parents={"base_model": 7})


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[Store, str]:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / PASSPORT).write_text("{}")
    store = Store(tmp_path / "store")
    return store, store.put_directory(CHECKPOINTS, tmp_path / "source", parents={}, producer={}).version


def test_a_making_says_who_asked_and_what_it_ran_on(checkpoint: tuple[Store, str], tmp_path: Path) -> None:
    store, version = checkpoint
    settings = settings_at(tmp_path).model_copy(update={"image": "sha256:" + "9" * 64})
    made = making_of(store, version, settings, origin=ORIGIN, mlflow_run="f00")
    assert (made.checkpoint, made.dagster, made.mlflow_run, made.image) == (version, ORIGIN, "f00", settings.image)
    assert made.passport == sha256_file(store.path(CHECKPOINTS, version) / PASSPORT)
    assert made.hardware.processors >= 1 and made.hardware.memory_bytes > 1 << 20
    assert made.packages["pydantic"] and made.packages == installed()
    name = attach_making(store, made)
    assert name.startswith(f"{MAKINGS}/2") and makings(store, version) == [made]
    assert store.check(CHECKPOINTS, version).version == version, "the version is what it was"


def test_each_making_has_a_file_of_its_own(checkpoint: tuple[Store, str], tmp_path: Path) -> None:
    store, version = checkpoint
    for run in ("one", "two", "two"):
        attach_making(store, making_of(store, version, settings_at(tmp_path), origin=None, mlflow_run=run))
    assert [made.mlflow_run for made in makings(store, version)] == ["one", "two", "two"], "also within one second"


@pytest.mark.parametrize(
    ("edited", "problem"),
    [({"checkpoint": "e" * 64}, "it is about eee"), ({"python": None}, "not the record of a making")],
)
def test_a_making_of_something_else_is_refused(
    edited: dict[str, object], problem: str, checkpoint: tuple[Store, str], tmp_path: Path
) -> None:
    store, version = checkpoint
    made = making_of(store, version, settings_at(tmp_path), origin=None, mlflow_run=None)
    told = {**made.model_dump(mode="json"), **edited}
    store.attach(CHECKPOINTS, version, f"{MAKINGS}/edited.json", json.dumps(told).encode())
    with pytest.raises(IntegrityError, match=problem):
        makings(store, version)


def test_without_a_commit_a_making_has_none_and_says_why(
    checkpoint: tuple[Store, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, version = checkpoint
    monkeypatch.setenv("PATH", "/nowhere")
    with caplog.at_level("INFO", logger="personamem"):
        assert making_of(store, version, settings_at(tmp_path), origin=None, mlflow_run=None).git is None
    assert "names no commit: git is not installed" in caplog.text


def test_a_stage_attaches_its_making_also_to_a_version_that_was_there(tmp_path: Path) -> None:
    work = StageJob(
        stage="base_model", store=str(tmp_path / "store"), inputs={}, preset=small_preset(), code_version="test",
        scratch=str(tmp_path / "scratch"), origin=ORIGIN, mlflow_run_id="f00",
    )  # fmt: skip
    (tmp_path / "job.json").write_text(work.model_dump_json())
    command = [sys.executable, "-m", "tests.commands.tiny_stage", "--job", str(tmp_path / "job.json")]
    for _ in range(2):
        done = subprocess.run(
            command, cwd=PROJECT, env={**os.environ, "PERSONAMEM_HOME": str(tmp_path)}, text=True, capture_output=True
        )
        assert done.returncode == 0, done.stderr
    result = StageResult.model_validate_json((tmp_path / "scratch" / "result.json").read_text())
    store = Store(work.store)
    assert store.versions(CHECKPOINTS) == [result.version]
    first, second = makings(store, result.version)
    assert first.dagster == second.dagster == ORIGIN and first.mlflow_run == "f00"


def test_a_container_has_the_memory_that_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    physical = hardware.hardware().memory_bytes
    for text, expected in (("1048576\n", 1 << 20), ("max\n", None), (f"{1 << 60}\n", None)):
        (tmp_path / "memory.max").write_text(text)
        monkeypatch.setattr(hardware, "CGROUP_MEMORY", tmp_path / "memory.max")
        assert hardware.hardware().memory_bytes == (expected or max(physical, hardware.hardware().memory_bytes))


def test_the_code_that_runs_here_has_a_commit() -> None:
    if not (PROJECT / ".git").exists():
        pytest.skip("no working tree")
    assert len(code.git_of(PROJECT).commit) == 40
