"""Which versions in the store are alive, as Dagster and MLflow see it: what garbage collection must not touch."""

from __future__ import annotations

import dagster as dg

from assets.parents import VERSION
from personamem_pipeline.lineage import GRAPH
from resources.tracking import Tracking

PAGE = 1000
RUNNING = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def live_versions(instance: dg.DagsterInstance, *, since: float) -> dict[str, str]:
    """Version -> asset (and shard), of every materialization that was the latest at `since` or at any time after it, in
    seconds since the epoch; or since the oldest run began that has not ended, because a run reads what it resolved at its
    start however long it takes."""
    unfinished = instance.get_run_records(dg.RunsFilter(statuses=RUNNING))
    since = min([since, *(record.create_timestamp.timestamp() for record in unfinished)])
    live: dict[str, str] = {}
    for name in GRAPH:
        for event in _events(instance, name, since):
            shard = f"/{event.partition}" if event.partition else ""
            live[str(event.metadata[VERSION].value)] = name + shard
    return live


def registered_versions(tracking: Tracking) -> dict[str, str]:
    """Version -> alias, of the registered models that an alias names: who deploys reads them."""
    return {version: alias for alias, version in tracking.aliases().items()}


def _events(instance: dg.DagsterInstance, name: str, since: float) -> list[dg.AssetMaterialization]:
    """The materializations of an asset after a time, and of each shard the last one before it."""
    found: list[dg.AssetMaterialization] = []
    settled: set[str | None] = set()
    cursor = None
    while True:
        page = instance.fetch_materializations(dg.AssetKey(name), limit=PAGE, cursor=cursor)
        for record in page.records:  # newest first
            event = record.asset_materialization
            if event is not None and event.partition not in settled:
                found.append(event)
                if record.timestamp < since:
                    settled.add(event.partition)
        if not page.has_more:
            return found
        cursor = page.cursor
