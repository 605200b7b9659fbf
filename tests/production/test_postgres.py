"""Dagster's production storage: a real Postgres, and two command lines that record on it at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.common import POOL
from personamem_pipeline.settings import PROJECT
from tests.production.postgres import Postgres


@pytest.fixture
def home(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DAGSTER_HOME with the storage, pools and monitoring of production.yaml; runs are processes of this machine."""
    config = postgres.instance_config(tmp_path / "logs")
    del config["run_launcher"]  # tests/production/test_shard_runs.py has it
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "field").mkdir()
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", postgres.password)
    for name, value in {"DAGSTER_HOME": tmp_path, "FIELD": tmp_path / "field", "PYTHONPATH": PROJECT}.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path


def materialize(selection: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "dagster",
        "asset",
        "materialize",
        "--select",
        selection,
        "-m",
        "tests.production.location",
    ]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_two_runs_at_once(home: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "dagster", "instance", "concurrency", "set", POOL, "1"], capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr  # before the first run, as docs/kubernetes.md says
    runs = [materialize("left,left_gpu"), materialize("right,right_gpu")]
    for run in runs:
        said, _ = run.communicate(timeout=180)
        assert run.returncode == 0, said[-3000:]

    with dg.DagsterInstance.get() as instance:
        assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
        assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.SUCCESS] * 2
        tags = {}
        for name in ("left", "left_gpu", "right", "right_gpu"):
            event = instance.get_latest_materialization_event(dg.AssetKey(name))
            assert event is not None and event.asset_materialization is not None
            tags[name] = event.asset_materialization.tags or {}
            assert tags[name]["dagster/data_version"] == f"{name}-1"
        for side in ("left", "right"):  # each run recorded its own parent, not the other's
            assert tags[f"{side}_gpu"]["dagster/input_data_version/" + side] == f"{side}-1"
        assert instance.event_log_storage.get_concurrency_run_ids() == set()  # and no slot is left held
    # They met, so they ran at once (location.py). The pool's two did not: the right one asked while the left one ran.
    # (Two that ask in the same moment may both get the slot on Postgres; docs/kubernetes.md says what follows.)
    left, right = (json.loads((home / "field" / f"{side}_gpu.json").read_text()) for side in ("left", "right"))
    assert left[1] <= right[0]


def test_compose_sets_the_pools_limit_only_where_there_is_none(home: Path, tmp_path: Path) -> None:
    """The daemon's command as docker/compose.yaml has it, but for the daemon that it ends in."""
    compose = yaml.safe_load((PROJECT / "docker" / "compose.yaml").read_text())
    shell, flags, script = compose["services"]["daemon"]["command"]
    script = script.replace("/tmp/pools", str(tmp_path / "pools")).replace("exec dagster-daemon", "echo dagster-daemon")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def start() -> str:
        done = subprocess.run([shell, flags, script], capture_output=True, text=True, env={**os.environ, "PATH": path})
        assert done.returncode == 0, done.stderr
        assert "dagster-daemon run" in done.stdout
        return done.stdout

    with dg.DagsterInstance.get() as instance:
        storage = instance.event_log_storage
        storage.delete_concurrency_limit(POOL)  # the server is the session's
        assert "Set concurrency limit" in start()
        assert storage.get_concurrency_info(POOL).slot_count == 1
        storage.set_concurrency_slots(POOL, 2)  # somebody has a second machine
        assert "Set concurrency limit" not in start()
        assert storage.get_concurrency_info(POOL).slot_count == 2
        storage.set_concurrency_slots(POOL, 1)


def test_the_password_is_read_when_it_is_needed_and_stands_nowhere(home: Path, postgres: Postgres) -> None:
    with dg.DagsterInstance.get() as instance:
        assert postgres.password not in repr(instance.get_ref())
    assert postgres.password not in (home / "dagster.yaml").read_text()
    assert not [path for path in home.rglob("*") if path.is_file() and postgres.password.encode() in path.read_bytes()]
