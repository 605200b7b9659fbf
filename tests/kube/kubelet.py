"""Runs a pod's container as a process of this machine, keeps its log, and writes its status as a kubelet would.

A container sees only what its pod says, plus PATH, HOME and the project's PYTHONPATH. `python` is this interpreter and
`dagster` the one beside it. Volumes are ignored: a path in a pod is the same path here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from tests.kube.container import Container, end_group
from tests.kube.objects import ApiError, Json, Registry, now

PROJECT = Path(__file__).resolve().parents[2]
GRACE = 30.0
"""Seconds between SIGTERM and SIGKILL where the pod says nothing."""
LAST_LINES, LAST_BYTES = 80, 2048
"""What `FallbackToLogsOnError` keeps: https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/"""
Secrets = Mapping[str, Mapping[str, str]]


class NotYet(Exception):
    """A container that waits and may be helped: reason and message as in its status."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Kubelet:
    """All nodes' kubelets in one."""

    def __init__(
        self, registry: Registry, secrets: Secrets, home: Path, missing_images: set[str], start: float
    ) -> None:
        self.registry, self.secrets, self.home, self.missing_images = registry, secrets, home, missing_images
        self.start = start
        self.containers: dict[str, Container] = {}

    def adopt(self, pod: Json) -> None:
        """Start the pod that was bound to a node."""
        container = Container(pod, pod["spec"]["nodeName"])
        self.containers[pod["metadata"]["uid"]] = container
        self._status(container, "Pending", {"waiting": {"reason": "ContainerCreating"}})
        threading.Thread(target=self._live, args=(container,), daemon=True).start()

    def of(self, pod: Json) -> Container | None:
        return self.containers.get(pod["metadata"]["uid"])

    def close(self) -> None:
        for container in list(self.containers.values()):
            container.lost = container.stopping = True
            container.kill()

    def _live(self, container: Container) -> None:
        pod, spec = container.pod, container.pod["spec"]["containers"][0]
        time.sleep(self.start)
        while not container.stopping:
            try:
                self._image(spec)
                env = environment(pod, spec, self.secrets)
                break
            except NotYet as waiting:
                reason = {"waiting": {"reason": waiting.reason, "message": str(waiting)}}
                self._status(container, "Pending", reason)
                self.registry.event(pod, "Failed", str(waiting), kind="Warning")
                time.sleep(0.1)
        if container.stopping:
            return self._end(container, 137, now())
        try:
            process = self._spawn(container, spec, env)
        except OSError as error:
            container.killed_as = "StartError"
            self._write(container, f"exec: {error}\n".encode())
            return self._end(container, 128, now())
        started = now()
        self.registry.event(pod, "Started", f"Started container {spec['name']}")
        self._status(container, "Running", {"running": {"startedAt": started}})
        # Two pipes, put together line by line: a half-written line of one stream never breaks a line of the other.
        streams = [stream for stream in (process.stdout, process.stderr) if stream is not None]
        readers = [threading.Thread(target=self._read, args=(container, stream), daemon=True) for stream in streams]
        for reader in readers:
            reader.start()
        code = process.wait()
        end_group(process)  # the end of PID 1 is the end of the container
        for reader in readers:
            reader.join(timeout=5)
        self._end(container, code if code >= 0 else 128 - code, started)
        return None

    def _image(self, spec: Json) -> None:
        if spec.get("image") in self.missing_images:
            raise NotYet("ImagePullBackOff", f'Back-off pulling image "{spec["image"]}": not found')

    def _spawn(self, container: Container, spec: Json, env: dict[str, str]) -> subprocess.Popen[bytes]:
        command = [*(spec.get("command") or ()), *(spec.get("args") or ())]
        if not command:
            raise OSError("no command specified")
        if command[0] in ("python", "python3"):
            command[0] = sys.executable
        beside = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {"PATH": beside, "HOME": str(self.home), "PYTHONPATH": str(PROJECT), **env}
        with container.news:
            container.process = subprocess.Popen(
                command, cwd=spec.get("workingDir") or PROJECT, env=own, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        if container.stopping:  # deleted while it was being started
            container.kill()
        return container.process

    def _read(self, container: Container, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._write(container, line if line.endswith(b"\n") else line + b"\n")

    def _write(self, container: Container, line: bytes) -> None:
        with container.news:
            last = container.lines[-1][0] if container.lines else 0
            container.lines.append((max(time.time_ns(), last + 1), line))
            container.news.notify_all()

    def _end(self, container: Container, code: int, started: str) -> None:
        """Write the last status, then end the log: whoever read it to the end finds out how the container ended."""
        reason = container.killed_as or ("Completed" if code == 0 else "Error")
        ended: Json = {"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": now()}
        if (
            code != 0
            and container.pod["spec"]["containers"][0].get("terminationMessagePolicy") == "FallbackToLogsOnError"
        ):
            text = b"".join(line for _, line in container.lines[-LAST_LINES:])
            ended["message"] = text[-LAST_BYTES:].decode(errors="replace")
        phase = "Succeeded" if code == 0 and container.verdict is None else "Failed"
        self._status(container, phase, {"terminated": ended})
        with container.news:
            container.ended = True
            container.news.notify_all()

    def _status(self, container: Container, phase: str, state: Json) -> None:
        """Post a status; a lost node's kubelet reaches nobody."""
        if container.lost:
            return
        spec, running = container.pod["spec"]["containers"][0], "running" in state
        with self.registry.changed:
            status = container.pod.setdefault("status", {})
            status["phase"] = phase
            if container.verdict is not None:
                status["reason"], status["message"] = container.verdict
            status["containerStatuses"] = [{
                "name": spec["name"], "image": spec.get("image", ""), "imageID": spec.get("image", ""), "state": state,
                "ready": running, "started": running, "restartCount": 0,
            }]  # fmt: skip
            ready = "True" if running else "False"
            condition(status, "Ready", ready)
            condition(status, "ContainersReady", ready)
            self.registry.touch(container.pod)


def condition(status: Json, kind: str, value: str, reason: str = "", message: str = "") -> None:
    """Set one of a pod's conditions."""
    kept = [entry for entry in status.get("conditions", []) if entry["type"] != kind]
    told = {key: text for key, text in (("reason", reason), ("message", message)) if text}
    status["conditions"] = [*kept, {"type": kind, "status": value, "lastTransitionTime": now(), **told}]


def environment(pod: Json, spec: Json, secrets: Secrets) -> dict[str, str]:
    """The container's variables; ConfigMaps are found among the secrets.

    Raises:
        NotYet: one of them, or a key of it, is missing.
    """
    env: dict[str, str] = {}
    for source in spec.get("envFrom") or ():
        reference = source.get("secretRef") or source.get("configMapRef") or {}
        values = _secret(secrets, reference)
        env |= {f"{source.get('prefix') or ''}{key}": value for key, value in values.items()}
    for entry in spec.get("env") or ():
        value = entry.get("value") or ""
        if origin := entry.get("valueFrom"):
            if reference := origin.get("secretKeyRef"):
                values = _secret(secrets, reference)
                if reference["key"] not in values:
                    if reference.get("optional"):
                        continue
                    problem = f"couldn't find key {reference['key']} in Secret {reference['name']}"
                    raise NotYet("CreateContainerConfigError", problem)
                value = values[reference["key"]]
            elif reference := origin.get("fieldRef"):
                value = _field(pod, reference["fieldPath"])
        env[entry["name"]] = value
    return env


def _secret(secrets: Secrets, reference: Json) -> Mapping[str, str]:
    name = reference.get("name", "")
    if name not in secrets and not reference.get("optional"):
        raise NotYet("CreateContainerConfigError", f'secret "{name}" not found')
    return secrets.get(name, {})


def _field(pod: Json, path: str) -> str:
    value = pod
    for part in path.split("."):
        if part not in value:
            raise ApiError(422, "Invalid", f"fieldRef {path}: unsupported")
        value = value[part]
    return str(value)


def rfc3339(nanoseconds: int) -> str:
    """A log line's time, with the nine digits of a kubelet."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
