"""Which versions in the store are alive, as Dagster and MLflow see it: what garbage collection must not touch."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from assets.parents import VERSION
from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import GRAPH, materialize_command
from resources.tracking import Tracking

PAGE = 1000
RUNNING = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def live_versions(instance: dg.DagsterInstance, *, since: float) -> tuple[dict[str, str], float]:
    """Version -> asset (and shard), of every materialization that was the latest at a moment or at any time after it; and
    that moment, in seconds since the epoch.

    It is `since`, or when the oldest run began that has not ended: a run reads what it resolved at its start however long
    it takes, and nobody but it knows of what it has put into the store since then.

    Raises:
        UserError: a materialization among them names no version, so that nobody knows what it keeps alive.
    """
    unfinished = instance.get_run_records(dg.RunsFilter(statuses=RUNNING))
    since = min([since, *(record.create_timestamp.timestamp() for record in unfinished)])
    live: dict[str, str] = {}
    for name in GRAPH:
        for record in _records(instance, name, since):
            shard = f"/{record.partition_key}" if record.partition_key else ""
            live[_version(name, record)] = name + shard
    return live, since


def registered_versions(tracking: Tracking) -> dict[str, str]:
    """Version -> alias, of the registered models that an alias names: who deploys reads them."""
    return {version: alias for alias, version in tracking.aliases().items()}


def _version(name: str, record: dg.EventLogRecord) -> str:
    event = record.asset_materialization
    if event is None or VERSION not in event.metadata:
        when = datetime.fromtimestamp(record.timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        raise UserError(
            "this materialization names no version in the store",
            where=f"{name}, event {record.storage_id} of {when}",
            expected=f"the metadata `{VERSION}`, which the pipeline's own runs record; one reported by hand has none",
            remedy=f"run `{materialize_command(name)}`; this event stays in the way until it is older than --hours",
        )
    return str(event.metadata[VERSION].value)


def _records(instance: dg.DagsterInstance, name: str, since: float) -> list[dg.EventLogRecord]:
    """The materializations of an asset after a time, and of each shard the last one before it."""
    key = dg.AssetKey(name)
    shards: set[str | None] = {*instance.get_materialized_partitions(key)} or {None}
    found: list[dg.EventLogRecord] = []
    settled: set[str | None] = set()
    cursor = None
    while True:
        page = instance.fetch_materializations(key, limit=PAGE, cursor=cursor)
        for record in page.records:  # newest first
            if record.partition_key not in settled:
                found.append(record)
                if record.timestamp < since:
                    settled.add(record.partition_key)
        if settled >= shards or not page.has_more:
            return found
        cursor = page.cursor
