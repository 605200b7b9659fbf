"""What the API's JSON of a pod says about it, as one of four states. Pure.

The scheduler's words decide how long a pod may wait. "Insufficient nvidia.com/gpu" on some node means that others have the
GPUs now: a queue, however long. Where no node of the cluster matches what the pod asks for, waiting cures nothing, unless an
autoscaler makes a node; the template says how long to wait for that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from resources.pods.manifest import CONTAINER, Json

Kind = Literal["quota", "unseen", "gated", "queued", "mismatch", "starting", "pulling"]
HOPELESS = re.compile(r"didn't match|didn't tolerate|untolerated taint|not found|no nodes available")
FOR_A_WHILE = re.compile(r"node\.kubernetes\.io/|unschedulable|untolerated taint\(s\)")
"""Taints of nodes that are restarting, in trouble or cordoned; the node may come back. Newer schedulers do not say which
taint it is ("had untolerated taint(s)"): it may be one of these."""
STUCK_IMAGE = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
)
DEADLINE = "DeadlineExceeded"
OUT_OF_MEMORY = "OOMKilled"
NOBODY_KNOWS = "ContainerStatusUnknown"
"""The kubelet does not know what became of a container that it had."""
LOG_LOST = "LogLost"
"""Ours: the stage ended well, and its report did not arrive."""
STOPPED = 143
"""128 + SIGTERM: the stage was asked to stop, and saved. We did not ask, so the cluster did."""


@dataclass(frozen=True)
class Waiting:
    """It has not started, and why."""

    kind: Kind
    why: str


@dataclass(frozen=True)
class Running:
    """Its container runs."""

    node: str


@dataclass(frozen=True)
class Leaving:
    """Its container may still run, but is about to end."""

    why: str


@dataclass(frozen=True)
class Ended:
    """It has ended."""

    code: int | None
    """Exit code; None where there is none to be had."""
    reason: str
    message: str
    taken: bool
    """Whether the cluster ended it, and not the stage."""


State = Waiting | Running | Leaving | Ended


def state(pod: Json) -> State:
    """The state of a pod that is there."""
    status = pod.get("status") or {}
    phase, container = status.get("phase"), _container_state(status)
    if "terminated" in container:
        return _ended(pod, container["terminated"])
    if phase in ("Failed", "Succeeded") and "running" not in container:
        reason, message = _taken_by(pod) or (status.get("reason", "Failed"), status.get("message", ""))
        return Ended(None, reason, message, taken=reason != DEADLINE)
    if phase == "Failed" or pod["metadata"].get("deletionTimestamp"):
        reason, message = _taken_by(pod) or ("Deleted", "")
        return Leaving(f"{reason}: {message}" if message else reason)
    if "running" in container:
        return Running(str((pod.get("spec") or {}).get("nodeName", "")))
    return _waiting(status, container)


def vanished(last: Json | None, events: Sequence[Json]) -> Ended:
    """The end of a pod that is gone, from what was last seen of it, which was no end, and what was told about it."""
    if last is not None:
        if found := _taken_by(last):
            return Ended(None, *found, taken=True)
        for condition in _conditions(last):
            if condition["type"] == "Ready" and condition.get("reason") in ("NodeNotReady", "NodeStatusUnknown"):
                return Ended(None, "NodeLost", str(condition.get("message", "")), taken=True)
    told = [event for event in events if event.get("reason") in ("Preempted", "Evicted", "TaintManagerEviction")]
    if told:
        return Ended(None, str(told[-1]["reason"]), str(told[-1].get("message", "")), taken=True)
    return Ended(None, "Deleted", "somebody or something deleted it", taken=True)


def hopeless(message: str) -> bool:
    """Whether the scheduler says that no node would do, however long one waits."""
    own = message.split(" preemption: ")[0]
    reasons = re.split(r", (?=\d+ )", own.partition(": ")[2] or own)
    return all(HOPELESS.search(reason) and not FOR_A_WHILE.search(reason) for reason in reasons)


def last_warning(events: Sequence[Json]) -> str:
    """The newest warning about a pod; empty when there is none."""
    warnings = [event for event in events if event.get("type") == "Warning"]
    return f"{warnings[-1].get('reason', '')}: {warnings[-1].get('message', '')}" if warnings else ""


def _waiting(status: Json, container: Json) -> Waiting:
    for condition in _conditions({"status": status}):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            reason, message = condition.get("reason", ""), condition.get("message", "")
            if reason == "SchedulingGated":
                return Waiting("gated", f"held back by a scheduling gate: {message}")
            return Waiting("mismatch" if hopeless(message) else "queued", message or reason)
    waiting = container.get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in STUCK_IMAGE:
        return Waiting("pulling", f"{reason}: {message}")
    scheduled = any(c["type"] == "PodScheduled" and c["status"] == "True" for c in _conditions({"status": status}))
    if scheduled or waiting:
        return Waiting("starting", reason or "its node is starting it")
    return Waiting("unseen", "no scheduler has looked at it yet")


def _ended(pod: Json, terminated: Json) -> Ended:
    code, status = int(terminated["exitCode"]), pod["status"]
    message = str(terminated.get("message") or "")
    if code == 0:
        return Ended(0, "Completed", "", taken=False)
    if terminated.get("reason") == OUT_OF_MEMORY:
        return Ended(code, OUT_OF_MEMORY, message, taken=False)
    if status.get("reason") == DEADLINE:
        return Ended(code, DEADLINE, str(status.get("message") or ""), taken=False)
    if found := _taken_by(pod):
        return Ended(code, *found, taken=True)
    if terminated.get("reason") == NOBODY_KNOWS:
        return Ended(None, "NodeLost", message or "its node restarted", taken=True)
    if code == STOPPED or pod["metadata"].get("deletionTimestamp"):
        return Ended(code, "Deleted", "somebody or something asked it to stop", taken=True)
    return Ended(code, str(terminated.get("reason") or "Error"), message, taken=False)


def _taken_by(pod: Json) -> tuple[str, str] | None:
    """Reason and message where the cluster says that it ends the pod."""
    for condition in _conditions(pod):
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            return str(condition.get("reason", "Disrupted")), str(condition.get("message", ""))
    status = pod.get("status") or {}
    if status.get("reason"):
        return str(status["reason"]), str(status.get("message", ""))
    return None


def _conditions(pod: Json) -> Sequence[Json]:
    return (pod.get("status") or {}).get("conditions") or ()


def _container_state(status: Json) -> Json:
    """Of the stage's container; others that a service mesh put beside it do not count."""
    own = [one for one in status.get("containerStatuses") or () if one["name"] == CONTAINER]
    return (own[0].get("state") or {}) if own else {}
