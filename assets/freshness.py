"""Which assets are out of date, and why. What `python -m personamem_pipeline.demo` builds, so that a second run builds
nothing.

An asset (or one shard of it) is stale when it was never materialized, when its code version has changed, when a parent
has another version than the one it was made from, when what it stored is no longer there, or when something upstream
of it is stale. The versions are those in its own metadata: the data version that Dagster shows for a shard is the
digest over all shards of the run that made it, too coarse to tell which shard changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from assets.parents import Parents, latest, latest_event, recorded_parents
from personamem_pipeline.lineage import GRAPH
from personamem_pipeline.store import Store

CODE_VERSION_TAG = "dagster/code_version"


@dataclass(frozen=True)
class Stale:
    """One asset to build again. `shards` is empty for unpartitioned assets."""

    name: str
    shards: tuple[str, ...]
    reason: str


def stale_assets(
    instance: dg.DagsterInstance, store: Store, code_versions: Mapping[str, str], shards: tuple[str, ...]
) -> list[Stale]:
    """Everything out of date, parents first. `code_versions` are those of the code that is loaded now."""
    stale: dict[str, Stale] = {}
    for name, node in GRAPH.items():
        reasons: dict[str | None, str] = {}
        for shard in shards if node.sharded else (None,):
            reason = _reason(instance, store, name, shard, code_versions[name], shards, stale)
            if reason:
                reasons[shard] = reason
        if reasons:
            names = tuple(shard for shard in reasons if shard is not None)
            stale[name] = Stale(name, names, next(iter(reasons.values())))
    return list(stale.values())


def _reason(
    instance: dg.DagsterInstance,
    store: Store,
    name: str,
    shard: str | None,
    code: str,
    shards: tuple[str, ...],
    stale: Mapping[str, Stale],
) -> str | None:
    event = latest_event(instance, name, shard)
    if event is None or event.asset_materialization is None:
        return "never materialized"
    materialization = event.asset_materialization
    if (materialization.tags or {}).get(CODE_VERSION_TAG) != code:
        return "its code or configuration changed"
    record = latest(instance, name, shard, store)
    if record is None or not store.has(record.kind, record.version):
        return "its data are not in the store"
    if record.failed_checks:
        return f"it failed {', '.join(record.failed_checks)}"
    for parent in GRAPH[name].parents:
        if parent in stale and (shard is None or shard in (stale[parent].shards or (shard,))):
            return f"{parent} is out of date"
    made_from = recorded_parents(materialization)
    current = _current_parents(instance, store, name, shard, shards).versions(shard)
    changed = [parent for parent in GRAPH[name].parents if made_from.get(parent) != current.get(parent)]
    return f"{', '.join(changed)} changed since" if changed else None


def _current_parents(
    instance: dg.DagsterInstance, store: Store, name: str, shard: str | None, shards: tuple[str, ...]
) -> Parents:
    records = (
        latest(instance, parent, part, store)
        for parent in GRAPH[name].parents
        for part in ((None,) if not GRAPH[parent].sharded else shards if shard is None else (shard,))
    )
    return Parents(record for record in records if record is not None)
