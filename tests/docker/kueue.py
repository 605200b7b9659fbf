"""The fields of Kueue's objects, as far as docker/kubernetes/kueue.yaml uses such objects, and which flavor a pod gets.

Source: github.com/kubernetes-sigs/kueue, apis/kueue/v1beta2 (resourceflavor_types.go, clusterqueue_types.go,
localqueue_types.go); read in November 2026. v1beta2 is served since Kueue 0.15, and v1beta1 no longer is
(kubernetes-sigs/kueue, pull request 14558). Only names and shapes are here, and the rule that a group's flavors have its
resources in its order; no admission webhook. Fields that we never use, and that have fields of their own, are `Any`.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel

from resources.pods.manifest import Json

VERSION = "kueue.x-k8s.io/v1beta2"


class Known(BaseModel):
    """Base: a field that Kueue does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)


class ResourceFlavorSpec(Known):
    node_labels: dict[str, str] = {}
    node_taints: tuple[Json, ...] = ()
    tolerations: tuple[Json, ...] = ()
    topology_name: str | None = None
    resource_weights: dict[str, str | int] = {}


class ResourceQuota(Known):
    name: str
    nominal_quota: str | int
    borrowing_limit: str | int | None = None
    lending_limit: str | int | None = None


class FlavorQuotas(Known):
    name: str
    resources: tuple[ResourceQuota, ...]


class ResourceGroup(Known):
    covered_resources: tuple[str, ...]
    flavors: tuple[FlavorQuotas, ...]

    @model_validator(mode="after")
    def _the_same_in_each(self) -> ResourceGroup:
        for flavor in self.flavors:
            if tuple(one.name for one in flavor.resources) != self.covered_resources:
                raise ValueError(f"flavor {flavor.name} must list the group's resources in the group's order")
        return self


class ClusterQueueSpec(Known):
    resource_groups: tuple[ResourceGroup, ...] = ()
    namespace_selector: Json | None = None
    cohort_name: str | None = None
    queueing_strategy: str | None = None
    stop_policy: str | None = None
    flavor_fungibility: Any = None
    preemption: Any = None
    admission_checks_strategy: Any = None
    fair_sharing: Any = None
    admission_scope: Any = None
    concurrent_admission_policy: Any = None


class LocalQueueSpec(Known):
    cluster_queue: str
    stop_policy: str | None = None
    fair_sharing: Any = None
    wall_time_policy: Any = None


SPECS: dict[str, type[Known]] = {
    "ResourceFlavor": ResourceFlavorSpec,
    "ClusterQueue": ClusterQueueSpec,
    "LocalQueue": LocalQueueSpec,
}


def check(manifest: Json) -> None:
    """Raise where Kueue would not know a field; labels, taints and tolerations are Kubernetes' own types."""
    from dagster_k8s.models import k8s_model_from_dict, k8s_snake_case_dict
    from kubernetes import client

    if manifest["apiVersion"] != VERSION or manifest.keys() - {"spec"} != {"apiVersion", "kind", "metadata"}:
        raise ValueError(f"not an object of {VERSION}: {manifest['apiVersion']}, {sorted(manifest)}")
    spec = SPECS[manifest["kind"]].model_validate(manifest.get("spec") or {})
    own: list[tuple[Any, Json]] = [(client.V1ObjectMeta, manifest["metadata"])]
    if isinstance(spec, ResourceFlavorSpec):
        own += [(client.V1Taint, one) for one in spec.node_taints]
        own += [(client.V1Toleration, one) for one in spec.tolerations]
    if isinstance(spec, ClusterQueueSpec) and spec.namespace_selector is not None:
        own.append((client.V1LabelSelector, spec.namespace_selector))
    for model, value in own:
        k8s_model_from_dict(model, k8s_snake_case_dict(model, value))


def flavor_of(pod: Json, group: ResourceGroup, flavors: dict[str, ResourceFlavorSpec]) -> str | None:
    """The first flavor of an idle group that a pod fits: https://kueue.sigs.k8s.io/docs/concepts/resource_flavor/

    Of the pod's node selector only labels count that some flavor of the group has.
    """
    (container,) = pod["spec"]["containers"]
    asked = {name: parse_quantity(value) for name, value in container["resources"]["requests"].items()}
    known = {label for each in group.flavors for label in flavors[each.name].node_labels}
    selector = {label: value for label, value in pod["spec"].get("nodeSelector", {}).items() if label in known}
    for each in group.flavors:
        spec = flavors[each.name]
        room: dict[str, Decimal] = {one.name: parse_quantity(one.nominal_quota) for one in each.resources}
        fits = all(amount <= room[name] for name, amount in asked.items())
        if fits and selector.items() <= spec.node_labels.items() and not intolerant(pod, spec.node_taints):
            return each.name
    return None


def intolerant(pod: Json, taints: Iterable[Json]) -> list[Json]:
    """The taints that keep a pod off their node."""

    def tolerated(taint: Json) -> bool:
        return any(
            one.get("key") in (None, taint["key"])
            and one.get("effect") in (None, taint["effect"])
            and (one.get("operator") == "Exists" or one.get("value") == taint.get("value"))
            for one in pod["spec"].get("tolerations", ())
        )

    return [taint for taint in taints if not tolerated(taint)]
