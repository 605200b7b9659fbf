"""What a Kubernetes API server remembers: objects by kind, namespace and name, and how lists select among them.

Pure bookkeeping, no processes and no HTTP. Objects are the API's own JSON; whoever reads or changes one holds `changed`.
"""

from __future__ import annotations

import copy
import re
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
"""https://kubernetes.io/docs/concepts/overview/working-with-objects/names/: a lowercase RFC 1123 subdomain."""
SET_TERM = re.compile(r"(?P<key>\S+)\s+(?P<how>in|notin)\s+\((?P<values>[^)]*)\)")


class ApiError(Exception):
    """An answer other than 2xx, with the `Status` object that a client reads."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message

    def body(self) -> Json:
        return {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        }  # fmt: skip


def not_found(kind: str, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{kind} "{name}" not found')


def now() -> str:
    """The time as the API writes it, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def later(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Registry:
    """The objects of a cluster. `changed` guards them all and is notified of every change."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self._objects: dict[tuple[str, str, str], Json] = {}
        self._version = 0

    def add(self, kind: str, namespace: str, body: Json) -> Json:
        """Keep a copy of a new object and return what is kept; 409 where the name is taken."""
        with self.changed:
            kept = copy.deepcopy(body)
            metadata = kept.setdefault("metadata", {})
            name = metadata.get("name") or f"{metadata.get('generateName', '')}{uuid.uuid4().hex[:5]}"
            if not NAME.fullmatch(name) or len(name) > 253:
                raise ApiError(
                    422, "Invalid", f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain'
                )
            if (kind, namespace, name) in self._objects:
                raise ApiError(409, "AlreadyExists", f'{kind} "{name}" already exists')
            metadata |= {"name": name, "namespace": namespace, "uid": str(uuid.uuid4()), "creationTimestamp": now()}
            self._objects[kind, namespace, name] = kept
            self.touch(kept)
            return kept

    def touch(self, item: Json) -> None:
        """Tell that an object was changed."""
        with self.changed:
            self._version += 1
            item["metadata"]["resourceVersion"] = str(self._version)
            self.changed.notify_all()

    def get(self, kind: str, namespace: str, name: str) -> Json:
        with self.changed:
            if (kind, namespace, name) not in self._objects:
                raise not_found(kind, name)
            return self._objects[kind, namespace, name]

    def remove(self, kind: str, item: Json) -> None:
        """Forget this very object; nothing where it is gone, or another one has its name by now."""
        key = (kind, item["metadata"]["namespace"], item["metadata"]["name"])
        with self.changed:
            if self._objects.get(key) is item:
                del self._objects[key]
                self.changed.notify_all()

    def all(self, kind: str, namespace: str | None = None, fields: str = "", labels: str = "") -> list[Json]:
        """Objects in the order in which they were made; `fields` and `labels` are the API's selectors."""
        with self.changed:
            items = [item for (k, n, _), item in self._objects.items() if k == kind and namespace in (None, n)]
            by_field, by_label = selector(fields, field_of), selector(labels, label_of)
            return [item for item in items if by_field(item) and by_label(item)]

    def snapshot(self, item: Any) -> Any:
        """A copy that nobody changes any more."""
        with self.changed:
            return copy.deepcopy(item)

    def event(self, pod: Json, reason: str, message: str, kind: str = "Normal", source: str = "kubelet") -> None:
        """Record an event about a pod; the same words again only raise its count."""
        metadata = pod["metadata"]
        about = {"kind": "Pod", "apiVersion": "v1"} | {key: metadata[key] for key in ("name", "namespace", "uid")}
        with self.changed:
            for known in self.all("events", metadata["namespace"], f"involvedObject.uid={metadata['uid']}"):
                if (known["reason"], known["message"]) == (reason, message):
                    known |= {"count": known["count"] + 1, "lastTimestamp": now()}
                    return self.touch(known)
            told = {"type": kind, "reason": reason, "message": message, "count": 1}
            told |= {"firstTimestamp": now(), "lastTimestamp": now()}
            told |= {"source": {"component": source}, "reportingComponent": source, "reportingInstance": ""}
            own = {"generateName": f"{metadata['name'][:200]}."}
            event = {"kind": "Event", "apiVersion": "v1", "metadata": own, "involvedObject": about, **told}
            self.add("events", metadata["namespace"], event)
            return None


def field_of(item: Json, path: str) -> str | None:
    """The value at a dotted path; an unset field is the empty string, as for the API server."""
    value: Any = item
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)


def label_of(item: Json, key: str) -> str | None:
    labels: dict[str, str] = item["metadata"].get("labels") or {}
    return labels.get(key)


def selector(text: str, value_of: Callable[[Json, str], str | None]) -> Callable[[Json], bool]:
    """`a=b,c!=d,e in (f, g),h,!i` as a predicate."""
    tests = [_term(term.strip(), value_of) for term in re.split(r",(?![^(]*\))", text) if term.strip()]
    return lambda item: all(test(item) for test in tests)


def _term(term: str, value_of: Callable[[Json, str], str | None]) -> Callable[[Json], bool]:
    if found := SET_TERM.fullmatch(term):
        values = {value.strip() for value in found["values"].split(",")}
        return lambda item: (value_of(item, found["key"]) in values) == (found["how"] == "in")
    for sign, equal in (("!=", False), ("==", True), ("=", True)):
        key, found_sign, value = (part.strip() for part in term.partition(sign))
        if found_sign:
            return lambda item: (value_of(item, key) == value) == equal
    key, wanted = term.lstrip("!"), not term.startswith("!")
    return lambda item: (value_of(item, key) is not None) == wanted
