"""The few calls of the Kubernetes API that a stage's pod needs, each carried through an outage.

Every answer that may be different in a moment (no connection, a broken one, 429, 5xx, an expired token) is asked for again
with growing pauses until `patience` seconds are over: an API server that restarts, or is away for minutes, must not cost a
training that goes on meanwhile. That includes creating a pod, since its name says whose it is (`manifest`).

Answers are the API's own JSON, not the library's models: what a newer server adds does not matter, and `status` stays pure.
The library is for finding the cluster and proving who asks. It is imported inside functions, since that takes seconds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from personamem_pipeline.errors import UserError
from resources.pods.connection import connect
from resources.pods.manifest import CONTAINER, Json

TRANSIENT = (408, 409, 429, 500, 502, 503, 504)
"""409: a quota was changed under a creation; a name that is taken is dealt with before."""
EXCEEDED = "exceeded quota"
"""How the API server words a 403 that other pods' ends will cure: https://kubernetes.io/docs/concepts/policy/resource-quotas/"""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
TIMEOUT = (10.0, 30.0)
"""Seconds to connect, and between two bytes of an answer."""
SAID_EVERY = 60.0
Say = Callable[[str], None]
AnswerT = TypeVar("AnswerT")


class Away(Exception):
    """The API server gave no usable answer for as long as we were willing to wait."""


class Conflict(Exception):
    """There is a pod of this name, and it is somebody else's."""


class QuotaFull(Exception):
    """The namespace's quota has no room for the pod now."""


class PodApi:
    """Pods of one namespace of one cluster."""

    def __init__(
        self,
        namespace: str,
        *,
        kubeconfig: Path | None = None,
        patience: float = 600.0,
        say: Say | None = None,
    ) -> None:
        """Find the cluster: this file, else the cluster that this process runs in, else what kubectl would take.

        Args:
            namespace: of the pods.
            kubeconfig: a file, of which the current context counts.
            patience: seconds of outage to sit out, per call.
            say: is told of an outage, once a minute.

        Raises:
            UserError: no cluster is configured.
        """
        self.namespace, self.patience = namespace, patience
        self._kubeconfig = kubeconfig
        self._say: Say = say or (lambda words: None)
        self._core: Any = connect(self._kubeconfig)
        self._known = False

    def create(self, manifest: Json) -> Json:
        """Create a pod, or find that it is there: an earlier try whose answer was lost, or a killed worker's.

        Raises:
            Conflict: the name is taken by another's pod.
            QuotaFull: other pods of the namespace have to end first.
        """
        own = manifest["metadata"]

        def post() -> Json:
            from kubernetes.client import ApiException

            try:
                return self._json(self._core.create_namespaced_pod, self.namespace, manifest)
            except ApiException as error:
                if error.status == 403 and EXCEEDED in (told := _words(error)):
                    raise QuotaFull(f"the quota of namespace {self.namespace} is used up: {told}") from error
                there = self._if_there(self._core.read_namespaced_pod, own["name"]) if error.status == 409 else None
                if there is None:
                    raise
            labels = there["metadata"].get("labels") or {}
            if any(labels.get(key) != value for key, value in own["labels"].items()):
                raise Conflict(f"pod {own['name']} of namespace {self.namespace} is there and not ours: {labels}")
            return there

        return self._through(f"creating pod {own['name']}", post)

    def read(self, name: str) -> Json | None:
        """A pod; None when there is none."""
        return self._through(f"reading pod {name}", lambda: self._if_there(self._core.read_namespaced_pod, name))

    def pods(self, labels: str) -> list[Json]:
        """The pods with these labels."""

        def call() -> list[Json]:
            found = self._json(self._core.list_namespaced_pod, self.namespace, label_selector=labels)
            return list(found["items"])

        return self._through("listing pods", call)

    def events(self, name: str) -> list[Json]:
        """What was told about a pod, oldest first; they outlive it by an hour."""

        def call() -> list[Json]:
            about = f"involvedObject.name={name}"
            found = self._json(self._core.list_namespaced_event, self.namespace, field_selector=about)
            return sorted(found["items"], key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime")))

        return self._through(f"reading the events of pod {name}", call)

    def delete(self, name: str, *, grace: int | None = None, patience: float | None = None) -> None:
        """Ask for a pod's end, with its own grace period unless told otherwise; it may be gone already."""
        options = {} if grace is None else {"grace_period_seconds": grace}

        def call() -> None:
            self._if_there(self._core.delete_namespaced_pod, name, **options)

        self._through(f"deleting pod {name}", call, patience=patience)

    def log(self, name: str, since: int | None) -> tuple[list[str], bool] | None:
        """One try at a pod's log so far: its lines, each with the node's time before it, and whether the answer ended as
        it should; None when there is no log to be had now. A last line without its newline is left out.

        Args:
            name: of the pod.
            since: seconds back to begin at; None: at the beginning.

        Raises:
            UserError: reading logs is forbidden, so the stage's report would never arrive.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        options = {} if since is None else {"since_seconds": max(1, since)}
        try:
            response = self._core.read_namespaced_pod_log(
                name, self.namespace, container=CONTAINER, timestamps=True, _preload_content=False,
                _request_timeout=TIMEOUT, **options,
            )  # fmt: skip
        except ApiException as error:
            if error.status in (401, 403) and self._problem(error) is None:
                raise self._refused(f"reading the log of pod {name}", error) from error
            return None
        except HTTPError:
            return None
        data, whole = bytearray(), False
        try:
            for piece in response.stream(1 << 16):
                data += piece
            whole = True
        except HTTPError:
            pass  # what came before it broke is of use
        finally:
            response.release_conn()
        return data.decode(errors="replace").split("\n")[:-1], whole

    def _through(self, what: str, call: Callable[[], AnswerT], *, patience: float | None = None) -> AnswerT:
        """The call's answer, in spite of outages.

        Raises:
            Away: no answer in `patience` seconds.
            UserError: the API server refuses, and would again.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        started, pause, said = time.monotonic(), FIRST_PAUSE, float("-inf")
        end = started + (self.patience if patience is None else patience)
        while True:
            try:
                answer = call()
                self._known = True
                return answer
            except ApiException as error:
                problem = self._problem(error)
                if problem is None:
                    raise self._refused(what, error) from error
            except HTTPError as error:
                problem = f"{type(error).__name__}: {error}"
            now = time.monotonic()
            if now >= end:
                raise Away(f"{what}: the Kubernetes API gave no answer for {now - started:.0f} s; last: {problem}")
            if now - said > SAID_EVERY:
                said = now
                self._say(f"{what}: {problem}; trying again for up to {end - now:.0f} s")
            time.sleep(min(pause, end - now))
            pause = min(2 * pause, LONGEST_PAUSE)

    def _problem(self, error: Any) -> str | None:
        """What is wrong for the moment; None where waiting does not help."""
        if error.status == 401 and self._known:  # a token that has run out; whoever issues them has written a new one
            self._core = connect(self._kubeconfig)
            return "401: the token is no longer valid"
        broken = not error.status and "CERTIFICATE_VERIFY_FAILED" not in str(error.reason)  # a TLS connection
        return f"{error.status or 'TLS'}: {error.reason}" if broken or error.status in TRANSIENT else None

    def _refused(self, what: str, error: Any) -> UserError:
        remedy = {
            401: "renew the kubeconfig's credentials",
            403: "grant it: docker/kubernetes/rbac.yaml has the role; or the namespace or priority class is missing",
            404: f"create the namespace {self.namespace}",
            422: "correct the pod template",
        }.get(error.status, "")
        return UserError(f"{what}: {error.status} {_words(error)}", where="Kubernetes API", remedy=remedy)

    def _if_there(self, method: Callable[..., Any], name: str, **options: Any) -> Json | None:
        """The answer about a pod; None where there is no such pod."""
        from kubernetes.client import ApiException

        try:
            return self._json(method, name, self.namespace, **options)
        except ApiException as error:
            if error.status != 404:
                raise
            return None

    def _json(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Json:
        response = method(*arguments, **options, _preload_content=False, _request_timeout=TIMEOUT)
        answer: Json = json.loads(response.data)
        return answer


def _words(error: Any) -> str:
    """What the API server says of a call that it refused."""
    try:
        return str(json.loads(error.body or "")["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
