"""What becomes of a local stage when compose's code server is stopped: Docker sends SIGTERM to the first process alone, and
`init` with TINI_KILL_PROCESS_GROUP hands it to the whole group. The group's part is done here, with the service's own
command; Docker's init is not run."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.events import RunFailureReason

from personamem_pipeline.settings import PROJECT

LOCATION = "tests.production.local_location"
PATIENCE = 90.0


def wait_for(what: str, there: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < deadline, f"{what} did not come about"
        time.sleep(0.05)


@pytest.fixture
def field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DAGSTER_HOME, and where the stage is."""
    coordinator = {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"}
    settings = {"telemetry": {"enabled": False}, "run_coordinator": coordinator}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings))
    for name, value in {"DAGSTER_HOME": tmp_path, "FIELD": tmp_path, "PYTHONPATH": PROJECT}.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path


@pytest.fixture
def server(field: Path) -> Iterator[subprocess.Popen[str]]:
    """compose's command on a free port, the first of a process group of its own, as Docker's init makes it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    compose = yaml.safe_load((PROJECT / "docker" / "compose.yaml").read_text())
    _, *words = compose["services"]["code-server"]["command"]
    for name, value in {"-m": LOCATION, "-h": "127.0.0.1", "-p": port}.items():
        words[words.index(name) + 1] = value
    target = {"grpc_server": {"host": "127.0.0.1", "port": int(port), "location_name": "here"}}
    (field / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [target]}))
    command = [sys.executable, "-m", "dagster", *words]
    with subprocess.Popen(command, cwd=PROJECT, text=True, start_new_session=True) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):  # all of it has ended
                os.killpg(process.pid, signal.SIGKILL)


def launch(field: Path) -> None:
    """Have the server run the asset, once it listens."""
    command = [
        sys.executable,
        "-m",
        "dagster",
        "job",
        "launch",
        "-w",
        str(field / "workspace.yaml"),
        "-j",
        "__ASSET_JOB",
    ]
    wait_for("a run", lambda: subprocess.run(command, cwd=PROJECT, capture_output=True).returncode == 0)
    wait_for("the stage", (field / "waiting").exists)


@pytest.mark.slow
def test_a_signal_to_the_group_lets_the_stage_save_and_ends_its_run(field: Path, server: subprocess.Popen[str]) -> None:
    launch(field)
    os.killpg(server.pid, signal.SIGTERM)
    assert server.wait(timeout=PATIENCE) == 0  # it waits for its runs, and the container with it
    (steps,) = (field / "store" / "scratch").glob("*/steps")
    assert steps.read_text() == "1"
    with dg.DagsterInstance.get() as instance:
        [run] = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.FAILURE
        [failed] = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
        assert failed.dagster_event is not None
        # With this reason production's and compose's run_retries begin it anew.
        assert failed.dagster_event.job_failure_data.failure_reason == RunFailureReason.UNEXPECTED_TERMINATION
