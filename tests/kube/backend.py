"""The cluster's state and the loop that moves it: what the API server serves."""

from __future__ import annotations

import secrets as tokens
import threading
from pathlib import Path

from tests.kube.admission import checked, within
from tests.kube.api import Api
from tests.kube.container import Container
from tests.kube.controllers import Controllers
from tests.kube.faults import Faults
from tests.kube.kubelet import Kubelet
from tests.kube.objects import ApiError, Json, Registry, not_found
from tests.kube.scheduler import GPU_TAINT, H100, Node

NAMESPACE = "personamem"
TICK = 0.03
KUEUE_LABEL, KUEUE_GATE = "kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/admission"
"""https://kueue.sigs.k8s.io/docs/tasks/run/plain_pods/: Kueue's webhook gates pods that carry the label."""
PRIORITIES = {
    "system-node-critical": 2000001000,
    "system-cluster-critical": 2000000000,
    "personamem-service": 10000,
    "personamem-training": 1000,
    "personamem-opportunistic": 10,
}


class Backend:
    """One CPU node and one node of 8 H100, until nodes are added or lost; no pods.

    `secrets`: name -> values, as `envFrom` finds them. `priorities`: the PriorityClasses there are. `missing_images`:
    images that cannot be pulled. `quota`: resource -> what the pods may request together. `kueue`: whether pods with a
    queue name wait for `admit`. `calls`: (method, path, query) of each request so far.
    """

    namespace = NAMESPACE

    def __init__(self, directory: Path, *, start_seconds: float = 0.05, kueue: bool = False) -> None:
        self.kubeconfig = directory / "kubeconfig.yaml"
        self.token = tokens.token_hex(8)
        self.calls: list[tuple[str, str, dict[str, str]]] = []
        self.secrets: dict[str, dict[str, str]] = {}
        self.priorities = dict(PRIORITIES)
        self.missing_images: set[str] = set()
        self.quota: dict[str, float] = {}
        self.kueue = kueue
        self.nodes: dict[str, Node] = {}
        self.registry = Registry()
        home = directory / "home"
        home.mkdir(parents=True, exist_ok=True)
        self.kubelet = Kubelet(self.registry, self.secrets, home, self.missing_images, start_seconds)
        self.controllers = Controllers(self.registry, self.kubelet, self.nodes)
        self._api = Api(self)
        self.faults = Faults(self._api.stop, self._api.start)
        self._closed = threading.Event()
        self.add_node("cpu-0", gpus=0, cpus=16, memory="64Gi")
        self.add_node("h100-0", labels=H100, taints=[GPU_TAINT])

    def add_node(
        self,
        name: str,
        labels: dict[str, str] | None = None,
        taints: list[dict[str, str]] | None = None,
        gpus: int = 8,
        cpus: float = 192,
        memory: str = "2Ti",
    ) -> None:
        """A machine joins."""
        with self.registry.changed:
            self.nodes[name] = Node(name, dict(labels or {}), list(taints or []), gpus, cpus, memory)

    def create(self, kind: str, namespace: str, body: Json) -> Json:
        if namespace not in (self.namespace, "default"):
            raise not_found("namespaces", namespace)
        if kind == "pods":
            gates = body.get("spec", {}).get("schedulingGates") or []
            if self.kueue and KUEUE_LABEL in (body.get("metadata", {}).get("labels") or {}):
                body["spec"]["schedulingGates"] = [*gates, {"name": KUEUE_GATE}]
            body = checked({**body, "kind": "Pod", "apiVersion": "v1"}, self.priorities)
            within(body, self.listed("pods", namespace, "", ""), self.quota)
        elif kind == "jobs":
            checked(self.registry.snapshot(body["spec"]["template"]), self.priorities)
            body = {**body, "kind": "Job", "apiVersion": "batch/v1", "status": {}}
        else:
            raise ApiError(405, "MethodNotAllowed", f"this fake makes no {kind}")
        made: Json = self.registry.snapshot(self.registry.add(kind, namespace, body))
        return made

    def read(self, kind: str, namespace: str, name: str) -> Json:
        found: Json = self.registry.snapshot(self.registry.get(kind, namespace, name))
        return found

    def listed(self, kind: str, namespace: str | None, fields: str, labels: str) -> list[Json]:
        found: list[Json] = self.registry.snapshot(self.registry.all(kind, namespace, fields, labels))
        return found

    def end(self, kind: str, namespace: str, name: str, options: Json) -> Json:
        with self.registry.changed:
            item = self.registry.get(kind, namespace, name)
            if kind == "jobs":
                self.controllers.jobs.delete(item, str(options.get("propagationPolicy", "Orphan")))
            else:
                grace = options.get("gracePeriodSeconds")
                self.controllers.delete_pod(item, None if grace is None else float(grace))
            ended: Json = self.registry.snapshot(item)
            return ended

    def container(self, namespace: str, name: str, container: str | None) -> Container:
        """The container whose log is asked for. Raises `ApiError` as a kubelet that has none, or is not there."""
        pod = self.registry.get("pods", namespace, name)
        own = pod["spec"]["containers"][0]["name"]
        if container not in (None, own):
            raise ApiError(400, "BadRequest", f"container {container} is not valid for pod {name}")
        found = self.kubelet.of(pod)
        if found is not None and found.lost:
            told = f"Get https://{found.node}:10250/containerLogs/{namespace}/{name}/{own}: no route to host"
            raise ApiError(500, "InternalError", told)
        if found is None or (found.process is None and not found.ended):
            state = (pod["status"].get("containerStatuses") or [{}])[0].get("state", {}).get("waiting", {})
            reason = state.get("reason", "ContainerCreating")
            raise ApiError(400, "BadRequest", f'container "{own}" in pod "{name}" is waiting to start: {reason}')
        return found

    def _control(self) -> None:
        while not self._closed.is_set():
            self.controllers.step()
            with self.registry.changed:
                self.registry.changed.wait(TICK)
