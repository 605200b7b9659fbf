"""What a pod's JSON says: each case as Kubernetes writes it."""

from __future__ import annotations

from typing import Any

import pytest

from resources.pods.status import Ended, Leaving, Running, Waiting, hopeless, last_warning, state, vanished

INSUFFICIENT = "1 Insufficient nvidia.com/gpu"
QUEUE = f"0/1 nodes are available: {INSUFFICIENT}."
SELECTOR = "2 node(s) didn't match Pod's node affinity/selector"
TAINT = "1 node(s) had untolerated taint {nvidia.com/gpu: present}"


def pod(phase: str = "Pending", *, container: Any = None, deleted: bool = False, **status: Any) -> dict[str, Any]:
    statuses = [{"name": "stage", "state": container}] if container else []
    metadata = {"name": "p", **({"deletionTimestamp": "2026-11-23T00:00:00Z"} if deleted else {})}
    return {
        "metadata": metadata,
        "spec": {"nodeName": "n"},
        "status": {"phase": phase, "containerStatuses": statuses, **status},
    }


def unscheduled(message: str, reason: str = "Unschedulable") -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return pod(conditions=[condition])


def terminated(code: int, reason: str = "Error", **more: Any) -> dict[str, Any]:
    return pod(
        "Failed" if code else "Succeeded", container={"terminated": {"exitCode": code, "reason": reason}}, **more
    )


DISRUPTED = [
    {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "for another"}
]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (f"0/3 nodes are available: {INSUFFICIENT}, {SELECTOR}.", False),
        (f"0/3 nodes are available: {TAINT}, {SELECTOR}.", True),
        (f"0/2 nodes are available: {SELECTOR}. preemption: 0/2 nodes are available: 2 Insufficient x.", True),
        ("0/2 nodes are available: 2 node(s) had taint {a: b}, that the pod didn't tolerate.", True),
        ("0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.", False),
        (f"0/3 nodes are available: 1 node(s) had untolerated taint(s), {SELECTOR}.", False),
        ("0/1 nodes are available: 1 node(s) had untolerated taint(s).", False),
        (f"0/3 nodes are available: 1 node(s) were unschedulable, {SELECTOR}.", False),
        ('persistentvolumeclaim "personamem-artifacts" not found', True),
        ("pod has unbound immediate PersistentVolumeClaims", False),
        ("no nodes available to schedule pods", True),
    ],
)
def test_what_waiting_does_not_cure(message: str, expected: bool) -> None:
    assert hopeless(message) is expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pod(), Waiting("unseen", "no scheduler has looked at it yet")),
        (unscheduled(QUEUE), Waiting("queued", QUEUE)),
        (unscheduled("gate", "SchedulingGated"), Waiting("gated", "held back by a scheduling gate: gate")),
        (pod(container={"waiting": {"reason": "ContainerCreating"}}), Waiting("starting", "ContainerCreating")),
        (pod(container={"waiting": {"reason": "ErrImagePull", "message": "m"}}), Waiting("pulling", "ErrImagePull: m")),
        (pod("Running", container={"running": {}}), Running("n")),
        (pod("Running", container={"running": {}}, deleted=True), Leaving("Deleted")),
        (
            pod("Running", container={"running": {}}, deleted=True, conditions=DISRUPTED),
            Leaving("PreemptionByScheduler: for another"),
        ),
        (terminated(0, "Completed"), Ended(0, "Completed", "", taken=False)),
        (terminated(0, "Completed", deleted=True), Ended(0, "Completed", "", taken=False)),
        (terminated(1), Ended(1, "Error", "", taken=False)),
        (terminated(2), Ended(2, "Error", "", taken=False)),
        (terminated(137, "OOMKilled"), Ended(137, "OOMKilled", "", taken=False)),
        (terminated(137), Ended(137, "Error", "", taken=False)),
        (terminated(143), Ended(143, "Deleted", "somebody or something asked it to stop", taken=True)),
        (terminated(143, conditions=DISRUPTED), Ended(143, "PreemptionByScheduler", "for another", taken=True)),
        (terminated(137, "ContainerStatusUnknown"), Ended(None, "NodeLost", "its node restarted", taken=True)),
        (pod("Failed", reason="NodeAffinity", message="m"), Ended(None, "NodeAffinity", "m", taken=True)),
        (pod("Failed", reason="DeadlineExceeded"), Ended(None, "DeadlineExceeded", "", taken=False)),
    ],
)  # fmt: skip
def test_states(given: dict[str, Any], expected: object) -> None:
    assert state(given) == expected


def test_containers_beside_the_stage_do_not_count() -> None:
    with_mesh = terminated(0, "Completed")
    mesh = {"name": "istio-proxy", "state": {"running": {}}}
    with_mesh["status"] |= {"phase": "Running", "containerStatuses": [mesh, *with_mesh["status"]["containerStatuses"]]}
    assert state(with_mesh) == Ended(0, "Completed", "", taken=False)


def test_evictions_and_deadlines_are_told_from_crashes() -> None:
    evicted = terminated(137)
    evicted["status"] |= {"reason": "Evicted", "message": "low on memory"}
    assert state(evicted) == Ended(137, "Evicted", "low on memory", taken=True)
    late = terminated(143)
    late["status"] |= {"reason": "DeadlineExceeded"}
    assert state(late) == Ended(143, "DeadlineExceeded", "", taken=False)


def test_a_pod_that_is_gone_is_explained_by_what_was_last_seen_or_told() -> None:
    assert vanished(None, []).taken
    running = pod("Running", container={"running": {}})
    assert vanished(running, []).reason == "Deleted"
    assert vanished(running | {"status": {**running["status"], "conditions": DISRUPTED}}, []).message == "for another"
    away = {"type": "Ready", "status": "False", "reason": "NodeNotReady", "message": "node n is unreachable"}
    assert vanished(running | {"status": {**running["status"], "conditions": [away]}}, []).reason == "NodeLost"
    assert vanished(running, [{"reason": "Preempted", "message": "by pod x"}]).message == "by pod x"


def test_the_last_warning_is_the_newest() -> None:
    events = [
        {"type": "Warning", "reason": "A", "message": "a"},
        {"type": "Warning", "reason": "FailedMount", "message": "b"},
    ]
    assert last_warning([*events, {"type": "Normal", "reason": "Pulled"}]) == "FailedMount: b"
    assert last_warning([]) == ""
