"""A pod that cannot start yet, or at all: what it waits for is told. What else may go wrong is in test_faults."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.kube.cluster import FakeCluster
from tests.kube.test_pods import beside, failure_of, job_at, pods_on, run

H100: dict[str, Any] = {
    "gpus": 8,
    "node_selector": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
    "tolerations": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}],
}


def test_a_queue_for_gpus_is_waited_out(tmp_path: Path, fake: FakeCluster, capfd: pytest.CaptureFixture[str]) -> None:
    fake.nodes["h100-0"].gpus = 4  # others have the rest

    def free() -> None:
        fake.wait_for(lambda: any(event["reason"] == "FailedScheduling" for event in fake.registry.all("events")))
        time.sleep(0.5)
        fake.nodes["h100-0"].gpus = 8

    with beside(free):
        result = run(pods_on(tmp_path, fake, **H100, mismatch_patience_seconds=0.1), job_at(tmp_path))
    assert result.success
    [told] = [line for line in capfd.readouterr().err.splitlines() if "waits: 0/2 nodes" in line]
    assert "1 Insufficient nvidia.com/gpu" in told
    assert "WARNING" in told


def test_a_queue_has_its_patience(tmp_path: Path, fake: FakeCluster) -> None:
    fake.nodes["h100-0"].gpus = 4
    description, _ = failure_of(run(pods_on(tmp_path, fake, **H100, schedule_patience_seconds=0.3), job_at(tmp_path)))
    assert "Insufficient nvidia.com/gpu" in description
    assert "schedule_patience_seconds" in description


def test_a_full_quota_is_waited_for(tmp_path: Path, fake: FakeCluster, capfd: pytest.CaptureFixture[str]) -> None:
    fake.quota = {"nvidia.com/gpu": 4}

    def raise_it() -> None:
        fake.wait_for(lambda: ("POST", f"/api/v1/namespaces/{fake.namespace}/pods", {}) in fake.calls)
        time.sleep(0.5)
        fake.quota = {"nvidia.com/gpu": 8}

    with beside(raise_it):
        assert run(pods_on(tmp_path, fake, **H100), job_at(tmp_path)).success
    [told] = [line for line in capfd.readouterr().err.splitlines() if "exceeded quota" in line]
    assert "requests.nvidia.com/gpu=8" in told
    assert "WARNING" in told


def test_a_full_quota_has_the_patience_of_a_queue(tmp_path: Path, fake: FakeCluster) -> None:
    fake.quota = {"nvidia.com/gpu": 4}
    description, _ = failure_of(run(pods_on(tmp_path, fake, **H100, schedule_patience_seconds=0.3), job_at(tmp_path)))
    assert "exceeded quota" in description
    assert "kubectl describe resourcequota" in description
    assert not fake.pods()


def test_a_node_that_is_not_ready_is_waited_for(tmp_path: Path, fake: FakeCluster) -> None:
    fake.nodes["h100-0"].ready = False

    def come_back() -> None:
        fake.wait_for(lambda: any(event["reason"] == "FailedScheduling" for event in fake.registry.all("events")))
        time.sleep(0.5)
        fake.nodes["h100-0"].ready = True

    with beside(come_back):
        assert run(pods_on(tmp_path, fake, **H100, mismatch_patience_seconds=0.1), job_at(tmp_path)).success


def test_a_log_that_may_not_be_read_ends_the_pod_at_once(tmp_path: Path, fake: FakeCluster) -> None:
    fake.faults.fail(10_000, "GET", "/log", 403)
    description, _ = failure_of(run(pods_on(tmp_path, fake, {"TINY_POD": "wait"}), job_at(tmp_path)))
    assert "reading the log of pod" in description
    assert "rbac.yaml" in description
    assert not fake.pods()


def test_a_missing_secret_is_named(tmp_path: Path, fake: FakeCluster) -> None:
    compute = pods_on(tmp_path, fake, env_from_secrets=["absent"], pull_patience_seconds=0.3)
    description, _ = failure_of(run(compute, job_at(tmp_path)))
    assert 'secret "absent" not found' in description
    assert "env_from_secrets in the pod template" in description


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"namespace": "elsewhere"}, "create the namespace elsewhere"),
        ({"priority_class": "nobody-made-it"}, "no PriorityClass with name nobody-made-it"),
    ],
)
def test_what_the_api_refuses_is_told_at_once(
    more: dict[str, Any], told: str, tmp_path: Path, fake: FakeCluster
) -> None:
    description, _ = failure_of(run(pods_on(tmp_path, fake, **more), job_at(tmp_path)))
    assert told in description
    assert not fake.pods()
