"""The control loops: scheduling, deadlines, jobs, the end of deleted pods, owners' garbage.

One `Controllers.step` does what there is to do; the cluster calls it after each change and every few hundredths of a second.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from tests.kube.jobs import OVER, Jobs
from tests.kube.kubelet import GRACE, Kubelet, condition
from tests.kube.objects import Json, Registry, later, moment, now
from tests.kube.scheduler import Node, place, victims

LINGER = 0.1
"""Seconds that the last status of a deleted pod can be read before the pod is gone."""


class Controllers:
    """kube-scheduler and kube-controller-manager over one registry."""

    def __init__(self, registry: Registry, kubelet: Kubelet, nodes: Mapping[str, Node]) -> None:
        self.registry, self.kubelet, self.nodes = registry, kubelet, nodes
        self.jobs = Jobs(registry)
        self._over_since: dict[str, float] = {}

    def step(self) -> None:
        """Do what there is to do."""
        with self.registry.changed:
            self._schedule()
            self._deadlines()
            self._end_deleted()
            self._collect()
            for job in self.registry.all("jobs"):
                self.jobs.step(job)

    def delete_pod(self, pod: Json, grace: float | None = None) -> Json:
        """What DELETE does: at once for a pod without a running process or with no grace, else SIGTERM, grace, SIGKILL."""
        with self.registry.changed:
            metadata = pod["metadata"]
            allowed = pod["spec"].get("terminationGracePeriodSeconds", GRACE) if grace is None else grace
            container = self.kubelet.of(pod)
            metadata["deletionTimestamp"] = metadata.get("deletionTimestamp") or later(allowed)
            metadata["deletionGracePeriodSeconds"] = int(allowed)
            self.registry.touch(pod)
            if container is not None and not container.ended:
                self.registry.event(pod, "Killing", f"Stopping container {pod['spec']['containers'][0]['name']}")
                container.stop(allowed)
            if container is None or allowed <= 0:
                self.registry.remove("pods", pod)
            return pod

    def disrupt(self, pod: Json, reason: str, message: str) -> None:
        """Say why a pod is about to end; it is not its own fault.

        https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
        """
        with self.registry.changed:
            condition(pod["status"], "DisruptionTarget", "True", reason, message)
            self.registry.touch(pod)

    def preempt(self, pod: Json, preemptor: str) -> None:
        """End a pod for the sake of a more important one."""
        told = f"Preempted by pod {preemptor} on node {pod['spec'].get('nodeName')}"
        self.registry.event(pod, "Preempted", told, source="default-scheduler")
        message = "default-scheduler: preempting to accommodate a higher priority pod"
        self.disrupt(pod, "PreemptionByScheduler", message)
        self.delete_pod(pod)

    def _schedule(self) -> None:
        waiting = [pod for pod in self.registry.all("pods") if not pod["spec"].get("nodeName")]
        for pod in sorted(waiting, key=lambda item: -int(item["spec"].get("priority") or 0)):
            if pod["metadata"].get("deletionTimestamp"):
                continue
            if pod["spec"].get("schedulingGates"):
                self._unscheduled(pod, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")
                continue
            running: dict[str, list[Json]] = {}
            for other in self.registry.all("pods"):
                if other["spec"].get("nodeName") and other["status"].get("phase") not in OVER:
                    running.setdefault(other["spec"]["nodeName"], []).append(other)
            nodes = list(self.nodes.values())
            found = place(pod, nodes, running)
            if isinstance(found, Node):
                pod["spec"]["nodeName"] = found.name
                pod["status"] |= {"startTime": now(), "hostIP": "127.0.0.1", "podIP": "127.0.0.1"}
                condition(pod["status"], "PodScheduled", "True")
                told = f"Successfully assigned {pod['metadata']['namespace']}/{pod['metadata']['name']} to {found.name}"
                self.registry.event(pod, "Scheduled", told, source="default-scheduler")
                self.kubelet.adopt(pod)
                continue
            going = victims(pod, nodes, running)
            for victim in going:
                self.preempt(victim, pod["metadata"]["uid"])
            if not going and not any(
                other["metadata"].get("deletionTimestamp") for bound in running.values() for other in bound
            ):
                found += f" preemption: 0/{len(nodes)} nodes are available: {len(nodes)} No preemption victims found."
            if self._unscheduled(pod, "Unschedulable", found):
                self.registry.event(pod, "FailedScheduling", found, kind="Warning", source="default-scheduler")

    def _unscheduled(self, pod: Json, reason: str, message: str) -> bool:
        """Write why a pod waits; False where it is known."""
        told = [c for c in pod["status"].get("conditions", []) if c["type"] == "PodScheduled"]
        if told and (told[0].get("reason"), told[0].get("message")) == (reason, message):
            return False
        condition(pod["status"], "PodScheduled", "False", reason, message)
        self.registry.touch(pod)
        return True

    def _deadlines(self) -> None:
        for pod in self.registry.all("pods"):
            container, limit = self.kubelet.of(pod), pod["spec"].get("activeDeadlineSeconds")
            if container is None or container.ended or container.verdict or limit is None:
                continue
            if datetime.now(UTC) > moment(pod["status"]["startTime"]) + timedelta(seconds=limit):
                told = "Pod was active on the node longer than the specified deadline"
                container.verdict = ("DeadlineExceeded", told)
                self.registry.event(pod, "DeadlineExceeded", told, kind="Warning")
                container.stop(pod["spec"].get("terminationGracePeriodSeconds", GRACE))

    def _end_deleted(self) -> None:
        for pod in self.registry.all("pods"):
            container = self.kubelet.of(pod)
            if container is None or container.lost or not container.ended:
                continue
            if pod["metadata"].get("deletionTimestamp"):
                since = self._over_since.setdefault(pod["metadata"]["uid"], time.monotonic())
                if time.monotonic() - since > LINGER:
                    self.registry.remove("pods", pod)

    def _collect(self) -> None:
        """Delete what has owners, none of which is there: https://kubernetes.io/docs/concepts/architecture/garbage-collection/"""
        there = {item["metadata"]["uid"] for kind in ("pods", "jobs") for item in self.registry.all(kind)}
        for kind in ("pods", "jobs"):
            for item in self.registry.all(kind):
                owners = item["metadata"].get("ownerReferences") or ()
                if owners and not there & {owner["uid"] for owner in owners}:
                    if kind == "jobs":
                        self.registry.remove("jobs", item)
                    elif not item["metadata"].get("deletionTimestamp"):
                        self.delete_pod(item)
