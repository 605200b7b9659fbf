"""Which Dagster database a pod belongs to, and whether the run that made it is over: whom a pod works for."""

from __future__ import annotations

import dagster as dg
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage

from personamem_pipeline.errors import UserError
from resources.pods.manifest import INSTANCE, RUN, Json


def instance_id(instance: dg.DagsterInstance) -> str:
    """What names a Dagster database."""
    storage = instance.run_storage
    if not isinstance(storage, SqlRunStorage):
        raise UserError("this Dagster instance has no id", where=type(storage).__name__, expected="SQLite or Postgres")
    return storage.get_run_storage_id()


def run_is_over(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a run of this database has ended, or was deleted from it. Its worker may live on and not know."""
    run = instance.get_run_by_id(run_id)
    return run is None or run.is_finished


def nobody_waits_for(instance: dg.DagsterInstance, pod: Json) -> bool:
    """Whether a pod was made for a run of this database that is over. Of another database's runs nothing is known."""
    labels = pod["metadata"]["labels"]
    return labels.get(INSTANCE) == instance_id(instance) and run_is_over(instance, labels[RUN])
