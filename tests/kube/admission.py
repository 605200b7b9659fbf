"""What an API server says about a pod before it keeps it: refused, or completed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tests.kube.jobs import OVER
from tests.kube.objects import ApiError, Json
from tests.kube.scheduler import quantity, requested


def checked(pod: Json, priorities: Mapping[str, int]) -> Json:
    """A pod as admission leaves it. Raises `ApiError` 422 for a spec that no API server takes, 403 for an unknown class."""
    spec = pod.get("spec") or {}
    containers = spec.get("containers") or []
    if len(containers) != 1 or spec.get("initContainers"):
        raise ApiError(422, "Invalid", "spec.containers: this fake runs pods of one container without init containers")
    if spec.setdefault("restartPolicy", "Always") != "Never":
        raise ApiError(422, "Invalid", f'spec.restartPolicy: this fake knows "Never", not "{spec["restartPolicy"]}"')
    container = containers[0]
    for side, amounts in (container.get("resources") or {}).items():
        for name, text in amounts.items() if side in ("limits", "requests") else ():
            _amount(f"spec.containers[0].resources.{side}[{name}]", text)
    limits, requests = ((container.get("resources") or {}).get(side) or {} for side in ("limits", "requests"))
    for name in (name for name in {**limits, **requests} if "/" in name):  # extended resources cannot be overcommitted
        if name not in limits or requests.get(name, limits[name]) != limits[name]:
            raise ApiError(422, "Invalid", f"spec.containers[0].resources.requests[{name}]: must be equal to limit")
    volumes = {volume["name"] for volume in spec.get("volumes") or ()}
    for mount in container.get("volumeMounts") or ():
        if mount["name"] not in volumes:
            raise ApiError(422, "Invalid", f'spec.containers[0].volumeMounts[0].name: Not found: "{mount["name"]}"')
    if name := spec.get("priorityClassName"):
        if name not in priorities:
            raise ApiError(403, "Forbidden", f"pods is forbidden: no PriorityClass with name {name} was found")
        spec["priority"] = priorities[name]
    pod["status"] = {"phase": "Pending", "conditions": [], "qosClass": "Burstable"}
    return pod


def within(pod: Json, pods: Iterable[Json], quota: Mapping[str, float]) -> None:
    """Raise `ApiError` 403 where the pods that have not ended and this one request more together than a ResourceQuota."""
    used: dict[str, float] = {}
    for other in pods:
        if other["status"].get("phase") not in OVER:
            for name, size in requested(other).items():
                used[name] = used.get(name, 0.0) + size
    for name, limit in quota.items():
        asked, taken = requested(pod).get(name, 0.0), used.get(name, 0.0)
        if asked + taken > limit:
            figures = (("requested", asked), ("used", taken), ("limited", limit))
            told = ", ".join(f"{what}: requests.{name}={figure:g}" for what, figure in figures)
            title = pod["metadata"]["name"]
            raise ApiError(403, "Forbidden", f'pods "{title}" is forbidden: exceeded quota: compute, {told}')


def _amount(where: str, text: object) -> None:
    try:
        number = quantity(text)
    except ValueError as error:
        raise ApiError(422, "Invalid", f'{where}: Invalid value: "{text}": {error}') from None
    if number < 0:
        raise ApiError(422, "Invalid", f'{where}: Invalid value: "{text}": must be greater than or equal to 0')
