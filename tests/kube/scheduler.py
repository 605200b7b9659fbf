"""Which node a pod goes to, and in what words the scheduler says that none will do. Pure functions over the API's JSON.

It knows node selectors, taints and tolerations, requests of CPU, memory and GPUs, priorities with preemption, and
scheduling gates (Kueue's way of holding a pod back). Its messages are those of newer kube-schedulers, since people and our
client read them; older ones also named the taint.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.kube.objects import Json

GPU = "nvidia.com/gpu"
H100 = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
GPU_TAINT = {"key": GPU, "value": "present", "effect": "NoSchedule"}
UNTOLERATED = "node(s) had untolerated taint(s)"
UNITS = {
    "": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50,
}  # fmt: skip


@dataclass
class Node:
    """A machine that pods can run on; `ready` turns False when it is lost."""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    taints: list[dict[str, str]] = field(default_factory=list)
    gpus: int = 8
    cpus: float = 192
    memory: str = "2Ti"
    ready: bool = True

    @property
    def room(self) -> dict[str, float]:
        """What its pods may request together."""
        return {"cpu": self.cpus, "memory": quantity(self.memory), GPU: float(self.gpus)}


def quantity(text: object) -> float:
    """`8`, `500m`, `64Gi` as a number. Raises `ValueError` for what is no quantity."""
    found = re.fullmatch(r"([+-]?[0-9]*\.?[0-9]+)([A-Za-z]*)", str(text))
    if found is None or found[2] not in UNITS:
        raise ValueError(f"quantities must match the regular expression of resource.Quantity, not {text!r}")
    return float(found[1]) * UNITS[found[2]]


def requested(pod: Json) -> dict[str, float]:
    """What a pod's containers request together; a limit without a request is one."""
    total: dict[str, float] = {}
    for container in pod["spec"]["containers"]:
        resources = container.get("resources") or {}
        for name, text in {**(resources.get("limits") or {}), **(resources.get("requests") or {})}.items():
            total[name] = total.get(name, 0.0) + quantity(text)
    return total


def place(pod: Json, nodes: Sequence[Node], running: Mapping[str, Sequence[Json]]) -> Node | str:
    """The first node with room, or why there is none. `running`: node -> the pods bound to it that have not ended."""
    reasons: Counter[str] = Counter()
    for node in nodes:
        why = refusals(pod, node, running.get(node.name, ()))
        if not why:
            return node
        reasons.update(why)
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return f"0/{len(nodes)} nodes are available: {listed}." if nodes else "no nodes available to schedule pods"


def refusals(pod: Json, node: Node, bound: Sequence[Json]) -> list[str]:
    """Why a pod cannot go to a node; empty where it can."""
    spec = pod["spec"]
    if not node.ready:
        return [UNTOLERATED]
    for taint in node.taints:
        if taint["effect"] != "PreferNoSchedule" and not any(
            _tolerates(t, taint) for t in spec.get("tolerations") or ()
        ):
            return [UNTOLERATED]
    if any(node.labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return ["node(s) didn't match Pod's node affinity/selector"]
    taken = [requested(other) for other in bound]
    return [
        f"Insufficient {name}"
        for name, size in requested(pod).items()
        if size + sum(other.get(name, 0.0) for other in taken) > node.room.get(name, 0.0)
    ]


def victims(pod: Json, nodes: Sequence[Node], running: Mapping[str, Sequence[Json]]) -> list[Json]:
    """The pods of lower priority that must go from one node, so that this pod fits; empty where that helps on none.

    The lowest priorities go first, as kube-scheduler does without disruption budgets.
    """
    for node in nodes:
        bound = list(running.get(node.name, ()))
        gone: list[Json] = []
        for candidate in sorted((p for p in bound if priority(p) < priority(pod)), key=priority):
            if candidate["metadata"].get("deletionTimestamp"):
                continue
            bound.remove(candidate)
            gone.append(candidate)
            if not refusals(pod, node, bound):
                return gone
    return []


def priority(pod: Json) -> int:
    return int(pod["spec"].get("priority") or 0)


def _tolerates(toleration: Json, taint: Mapping[str, str]) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return (toleration.get("key"), toleration.get("value") or "") == (taint["key"], taint.get("value", ""))
