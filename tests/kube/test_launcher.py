"""Run monitoring with production's launcher: what of a run's Job it may take for the worker's end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.test_utils import create_run_for_test
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration

from personamem_pipeline.settings import PROJECT
from tests.kube.cluster import FakeCluster

JOB = r"/jobs/[^/]+/status$"
SLEEP = ["python", "-c", "import time; time.sleep(60)"]


@pytest.fixture
def instance(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The launcher and the monitoring of production.yaml, on this cluster."""
    production: dict[str, Any] = yaml.safe_load((PROJECT / "docker" / "dagster" / "production.yaml").read_text())
    launcher, monitoring = production["run_launcher"], production["run_monitoring"]
    launcher["config"] |= {"load_incluster_config": False, "kubeconfig_file": str(fake.kubeconfig)}
    # Dagster's client waits 10 s before it tries again.
    clock = SimpleNamespace(time=time.time, sleep=lambda seconds: time.sleep(seconds / 1000))
    monkeypatch.setattr("dagster_k8s.client.time", clock)
    with dg.instance_for_test(overrides={"run_launcher": launcher, "run_monitoring": monitoring}) as made:
        yield made


@pytest.fixture
def run(fake: FakeCluster, instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A run whose worker is at work."""
    started: dg.DagsterRun = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    container = {"name": "dagster", "image": "any", "command": SLEEP}
    spec = {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    fake.create("jobs", fake.namespace, {"metadata": {"name": job_of(started)}, "spec": spec})
    fake.running()
    return started


def job_of(run: dg.DagsterRun) -> str:
    return f"dagster-run-{run.run_id}"


def status_after_a_tick(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as process:
        errors = [error for error in execute_run_monitoring_iteration(process, logging.getLogger("tick")) if error]
    assert not errors
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (lambda fake: None, False),
        (lambda fake: fake.faults.away(), True),
        (lambda fake: fake.faults.fail(10_000, "GET", JOB, 503), True),
        (lambda fake: fake.faults.fail(10_000, "GET", JOB, 403), True),
        (lambda fake: fake.faults.fail(1, "GET", JOB, 429), False),  # over before it is asked again
    ],
    ids=["nothing", "away", "503", "403", "429 once"],
)
def test_an_api_that_does_not_answer_ends_no_run(
    what: Callable[[FakeCluster], None],
    told: bool,
    fake: FakeCluster,
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    caplog: pytest.LogCaptureFixture,
) -> None:
    what(fake)
    assert status_after_a_tick(instance, run) == dg.DagsterRunStatus.STARTED
    assert (f"Job {job_of(run)} could not be asked for" in caplog.text) is told
    fake.faults.back()


def test_a_run_whose_job_is_gone_is_over(fake: FakeCluster, instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    fake.end("jobs", fake.namespace, job_of(run), {"propagationPolicy": "Background"})
    fake.wait_for(lambda: not fake.jobs())
    assert status_after_a_tick(instance, run) == dg.DagsterRunStatus.FAILURE


def test_a_run_whose_worker_has_died_is_over(
    fake: FakeCluster, instance: dg.DagsterInstance, run: dg.DagsterRun
) -> None:
    fake.kill(fake.running())
    fake.wait_for(lambda: fake.jobs()[0]["status"].get("failed"))
    assert status_after_a_tick(instance, run) == dg.DagsterRunStatus.FAILURE
