"""Resolving a parent: which materialization of it this run reads, and whether it may be read at all.

A stage resolves each parent once, at its start; the version and path found there are what it reads, records and passes
on. Dagster itself would run a stage whose parent was never materialized, and a *blocking* check blocks only inside the
run that evaluated it, so both are refused here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status
from pydantic import Field

from assets.checks import AFTERWARDS, PROMISES
from personamem_pipeline.lineage import GRAPH, CheckStatus, Parent, ancestors, combined_version, materialize_command
from personamem_pipeline.store import Store

VERSION, PATH, PARENTS, FAILED, ALARMS = "version", "path", "parents", "failed_checks", "alarms"
"""Metadata keys of every materialization; per shard for the sharded assets."""
EVALUATIONS = 100
"""How many evaluations of a check are looked through for those of one materialization."""


class Guard(dg.Config):
    """Run configuration that every asset takes."""

    allow_failed_checks: bool = Field(default=False, description="read parents whose blocking checks failed")


class Parents(Mapping[str, Parent]):
    """The resolved parents of one asset: by name, and by `name/shard` for sharded ones."""

    def __init__(self, parents: Iterable[Parent]) -> None:
        self._parents = {record.name + (f"/{record.shard}" if record.shard else ""): record for record in parents}

    def __getitem__(self, key: str) -> Parent:
        return self._parents[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parents)

    def __len__(self) -> int:
        return len(self._parents)

    def versions(self, shard: str | None = None) -> dict[str, str]:
        """Name -> version: of one shard's parents, or of all, a sharded one then by the digest over its shards (the
        shards' own would not fit into one event's metadata; the stored manifest lists them)."""
        shards: dict[str, dict[str, str]] = {}
        for record in self._parents.values():
            if shard is None or record.shard == shard:
                shards.setdefault(record.name, {})[record.shard or ""] = record.version
        return {name: combined_version(versions) for name, versions in shards.items()}


def resolve(
    context: dg.AssetExecutionContext, name: str, store: Store, *, guard: Guard, shards: Iterable[str]
) -> Parents:
    """The parents of `name`: every one of `shards` of a sharded parent, the only one of any other."""
    found: list[Parent] = []
    missing: set[str] = set()
    for parent in GRAPH[name].parents:
        for shard in shards if GRAPH[parent].sharded else (None,):
            record = latest(context.instance, parent, shard, store)
            if record is None:
                missing.add(parent)
            else:
                found.append(record)
    if missing:
        raise dg.Failure(_missing_message(context.instance, name, missing, store, shards), allow_retries=False)
    bad = [record for record in found if record.checks == "failed"]
    if bad and not guard.allow_failed_checks:
        raise dg.Failure(_refusal(name, bad), allow_retries=False)
    for record in bad:
        context.log.warning(f"reading {record.name} although it failed {', '.join(record.failed_checks)}")
    return Parents(found)


def latest(instance: dg.DagsterInstance, name: str, shard: str | None, store: Store) -> Parent | None:
    """The newest materialization of an asset or shard; None when there is none."""
    record = latest_event(instance, name, shard)
    if record is None or (event := record.asset_materialization) is None:
        return None
    version = str(event.metadata[VERSION].value)
    failed = sorted({*_recorded_failures(event), *_latest_failures(instance, name)}) or _not_passed(
        instance, name, record.storage_id
    )
    status: CheckStatus = "failed" if failed else "passed"
    return Parent(
        name=name,
        shard=shard,
        version=version,
        kind=GRAPH[name].kind,
        path=store.address(GRAPH[name].kind, version),
        storage_id=record.storage_id,
        checks=status,
        failed_checks=tuple(failed),
    )


def latest_event(instance: dg.DagsterInstance, name: str, shard: str | None) -> dg.EventLogRecord | None:
    """The event of the newest materialization of an asset or shard."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(name), asset_partitions=None if shard is None else [shard])
    return next(iter(instance.fetch_materializations(wanted, limit=1).records), None)


def recorded_parents(event: dg.AssetMaterialization) -> dict[str, str]:
    """Name -> version of the parents that a materialization was made from."""
    value = event.metadata[PARENTS].value
    if not isinstance(value, Mapping):
        raise dg.DagsterInvariantViolationError(f"{event.asset_key} recorded no parents but {value!r}")
    return {str(name): str(version) for name, version in value.items()}


def _recorded_failures(event: dg.AssetMaterialization) -> list[str]:
    """What this very materialization failed. Dagster keeps check results per asset, so that a later good shard would
    hide an earlier bad one; each shard's own metadata does not forget."""
    text = str(event.metadata[FAILED].value) if FAILED in event.metadata else ""
    return [name for name in text.split(", ") if name]


def _latest_failures(instance: dg.DagsterInstance, name: str) -> list[str]:
    keys = [dg.AssetCheckKey(dg.AssetKey(name), check) for check in PROMISES[name]]
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    return [key.name for key, record in records.items() if record.event and _said_no(record.event)]


def _said_no(event: dg.EventLogEntry) -> bool:
    """Not where a check is only planned: another run is making other shards at this moment, and the shards that are there
    say of themselves what they failed."""
    evaluation = event.asset_check_evaluation
    return evaluation is not None and not evaluation.passed


def _not_passed(instance: dg.DagsterInstance, name: str, materialization: int) -> list[str]:
    """The checks with steps of their own that this very materialization did not pass, also where none was evaluated: the
    step may have crashed, or somebody may have left it out. The newest evaluation counts; a step that crashed later leaves
    none."""
    found = []
    for check in AFTERWARDS.get(name, {}):
        records = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey(name), check), EVALUATIONS, status={Status.SUCCEEDED, Status.FAILED}
        )
        evaluations = [record.event.asset_check_evaluation for record in records if record.event]
        own = next((each for each in evaluations if each and _is_about(each, materialization)), None)
        if own is None:
            found.append(f"{check} (not evaluated)")
        elif not own.passed:
            found.append(check)
    return found


def _is_about(evaluation: dg.AssetCheckEvaluation, materialization: int) -> bool:
    target = evaluation.target_materialization_data
    return target is not None and target.storage_id == materialization


def _missing_message(
    instance: dg.DagsterInstance, name: str, missing: set[str], store: Store, shards: Iterable[str]
) -> str:
    def absent(asset: str) -> bool:
        wanted: Iterable[str | None] = shards if GRAPH[asset].sharded else (None,)
        return any(latest(instance, asset, shard, store) is None for shard in wanted)

    first = [asset for asset in ancestors(name) if asset in missing or absent(asset)]
    direct = [asset for asset in GRAPH[name].parents if asset in missing]
    return (
        f"{name} needs {' and '.join(direct)}, not materialized yet.\n"
        f"  materialize first: {', '.join(first)}\n"
        f"  command:           {materialize_command(name)}"
    )


def _refusal(name: str, bad: list[Parent]) -> str:
    lines = [
        f"{parent.name}{f' shard {parent.shard}' if parent.shard else ''} (version {parent.version[:12]}) "
        f"failed its blocking check(s) {', '.join(parent.failed_checks)}"
        for parent in bad
    ]
    return (
        f"{name} will not read data whose blocking checks failed:\n  "
        + "\n  ".join(lines)
        + f"\n  to do: correct the cause and materialize {', '.join(sorted({p.name for p in bad}))} again, "
        f"or set `allow_failed_checks: true` in the run configuration of {name}"
    )
