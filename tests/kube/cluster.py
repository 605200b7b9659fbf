"""`FakeCluster`: the cluster that tests, and `python -m tests.kube.demo`, start in their own process.

    with FakeCluster(tmp_path) as kube:
        ... kube.kubeconfig ...     # what any Kubernetes client needs
        kube.preempt(name)          # what befalls pods: methods here
        kube.faults.fail(3, "GET", "/log", 503)   # what befalls the API server: `faults`

Pods outlive the process that asked for them, as in life, and end with the cluster.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import yaml

from tests.kube.backend import Backend
from tests.kube.container import Container
from tests.kube.jobs import OVER
from tests.kube.kubelet import condition
from tests.kube.objects import Json, later


class FakeCluster(Backend):
    """A running cluster, what tests look at in it, and what they do to it."""

    def __enter__(self) -> Self:
        self._api.start()
        threading.Thread(target=self._control, daemon=True).start()
        self.kubeconfig.write_text(yaml.safe_dump(self._config()))
        self.kubeconfig.chmod(0o600)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self.faults.calm()
        self.kubelet.close()
        self._api.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._api.port}"

    # What tests look at

    def pods(self, labels: str = "") -> list[Json]:
        """The pods there are, oldest first."""
        found: list[Json] = self.registry.snapshot(self.registry.all("pods", labels=labels))
        return found

    def pod(self, name: str) -> Json:
        """One pod; `KeyError` where there is none."""
        for pod in self.pods():
            if pod["metadata"]["name"] == name:
                return pod
        raise KeyError(name)

    def jobs(self) -> list[Json]:
        found: list[Json] = self.registry.snapshot(self.registry.all("jobs"))
        return found

    def events(self, name: str) -> list[Json]:
        """The events about a pod; they outlive it."""
        about = f"involvedObject.name={name}"
        found: list[Json] = self.registry.snapshot(self.registry.all("events", fields=about))
        return found

    def log(self, name: str) -> str:
        """What a pod has written so far, also one that is gone; empty before it started."""
        own = [item for item in self.kubelet.containers.values() if item.pod["metadata"]["name"] == name]
        return b"".join(line for item in own for _, line in item.lines).decode(errors="replace")

    def made(self) -> list[str]:
        """The names of all pods that ever ran, in order."""
        return [container.pod["metadata"]["name"] for container in self.kubelet.containers.values()]

    def processes(self) -> list[int]:
        """The ids of the containers' processes that still run."""
        known = (container.process for container in self.kubelet.containers.values())
        return [process.pid for process in known if process is not None and process.poll() is None]

    def wait_for(self, condition: Callable[[], object], seconds: float = 60, what: str = "") -> None:
        """Wait until a condition holds; `TimeoutError` with the pods' state where it does not."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                told = [(pod["metadata"]["name"], pod["status"]) for pod in self.pods()]
                raise TimeoutError(f"{what or condition} did not come about in {seconds} s; pods: {told}")
            time.sleep(0.02)

    def running(self, labels: str = "", seconds: float = 30) -> str:
        """Wait for a running pod, and its name."""

        def alive() -> list[Json]:
            found = [pod for pod in self.pods(labels) if pod["status"]["phase"] == "Running"]
            return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

        self.wait_for(alive, seconds, "a running pod")
        return str(alive()[-1]["metadata"]["name"])

    # What befalls pods and nodes

    def preempt(self, name: str) -> None:
        """The scheduler ends a pod for a more important one: SIGTERM, grace, gone."""
        self.controllers.preempt(self._pod(name), "somebody-more-important")

    def evict(self, name: str) -> None:
        """The kubelet ends a pod because its node runs short of memory: SIGKILL; the pod stays, as Failed."""
        pod = self._pod(name)
        container = self._container(pod)
        container.verdict = ("Evicted", "The node was low on resource: memory. Threshold quantity: 100Mi")
        self.registry.event(pod, "Evicted", container.verdict[1], kind="Warning")
        self.controllers.disrupt(pod, "TerminationByKubelet", container.verdict[1])
        container.stop(0)

    def lose_node(self, name: str, gone_after: float = 1.0, *, stuck: bool = False) -> None:
        """A machine loses power: its processes are gone, log streams break, and its pods look as if they ran until the
        control plane deletes them (after about 5 minutes in life, `gone_after` seconds here).

        With `stuck` nobody removes the machine from the cluster, and so its pods stay there, being deleted for ever.
        """
        with self.registry.changed:
            self.nodes[name].ready = False
            lost = [pod for pod in self.registry.all("pods") if pod["spec"].get("nodeName") == name]
            for pod in lost:
                container = self._container(pod)
                container.lost = True
                condition(pod["status"], "Ready", "False", "NodeNotReady", f"node {name} is unreachable")
                self.registry.touch(pod)
                container.kill()
        timer = threading.Timer(gone_after, self._give_up, (name, lost, stuck))
        timer.daemon = True
        timer.start()

    def _give_up(self, node: str, lost: list[Json], stuck: bool) -> None:
        with self.registry.changed:
            for pod in lost:
                if pod["status"].get("phase") not in OVER:
                    told = "Taint manager: deleting due to NoExecute taint"
                    self.controllers.disrupt(pod, "DeletionByTaintManager", told)
                    pod["metadata"].setdefault("deletionTimestamp", later(0))
                if not stuck:
                    self.registry.remove("pods", pod)
            if not stuck:
                self.nodes.pop(node, None)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Signal a container's process. SIGKILL is what the kernel sends when memory runs out, and is told so: OOMKilled."""
        container = self._container(self._pod(name))
        if container.process is None:
            raise KeyError(f"{name} has no process yet")
        if number == signal.SIGKILL:
            container.killed_as = "OOMKilled"
        container.process.send_signal(number)

    def delete(self, name: str, grace: float | None = None) -> None:
        """`kubectl delete pod`, by somebody else."""
        self.controllers.delete_pod(self._pod(name), grace)

    def rotate_log(self, name: str) -> None:
        """The node begins a new log file for a container; what was written before cannot be read any more."""
        container = self._container(self._pod(name))
        container.rotated = len(container.lines)

    def admit(self, name: str) -> None:
        """Kueue lets a pod go."""
        with self.registry.changed:
            pod = self._pod(name)
            pod["spec"]["schedulingGates"] = []
            self.registry.touch(pod)

    def _pod(self, name: str) -> Json:
        return self.registry.get("pods", self.namespace, name)

    def _container(self, pod: Json) -> Container:
        container = self.kubelet.of(pod)
        if container is None:
            raise KeyError(f"{pod['metadata']['name']} is on no node")
        return container

    def _config(self) -> Json:
        context = {"cluster": "fake", "user": "tests", "namespace": self.namespace}
        return {
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "contexts": [{"name": "fake", "context": context}],
            "users": [{"name": "tests", "user": {"token": self.token}}],
        }  # fmt: skip
