"""A real cluster behind as much of `FakeCluster`'s interface as one has; asked for a fault, it skips the test."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kube.objects import Json


class RealCluster:
    """The cluster of a kubeconfig's current context, in that context's namespace."""

    def __init__(self, kubeconfig: Path) -> None:
        from kubernetes import client, config

        self.kubeconfig = kubeconfig
        settings = client.Configuration()
        config.load_kube_config(config_file=str(kubeconfig), client_configuration=settings)
        self._client = client.ApiClient(settings)
        self._core = client.CoreV1Api(self._client)
        _, active = config.list_kube_config_contexts(config_file=str(kubeconfig))
        self.namespace: str = active["context"].get("namespace", "default")

    def __getattr__(self, name: str) -> Any:
        pytest.skip(f"needs {name}, and a real cluster takes no faults")

    def pods(self, labels: str = "") -> list[Json]:
        found = self._core.list_namespaced_pod(self.namespace, label_selector=labels)
        items: list[Json] = self._client.sanitize_for_serialization(found)["items"]
        return items

    def pod(self, name: str) -> Json:
        for pod in self.pods():
            if pod["metadata"]["name"] == name:
                return pod
        raise KeyError(name)

    def delete(self, name: str, grace: float | None = None) -> None:
        options = {} if grace is None else {"grace_period_seconds": int(grace)}
        self._core.delete_namespaced_pod(name, self.namespace, **options)

    def wait_for(self, condition: Callable[[], object], seconds: float = 300, what: str = "") -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what or condition} did not come about in {seconds} s")
            time.sleep(0.5)

    def running(self, labels: str = "", seconds: float = 300) -> str:
        def alive() -> list[Json]:
            return [pod for pod in self.pods(labels) if pod["status"]["phase"] == "Running"]

        self.wait_for(alive, seconds, "a running pod")
        return str(alive()[-1]["metadata"]["name"])
