"""The papers of a checkpoint, compared: passport, manifest and making in the store, Dagster's record, MLflow.

Dagster writes the tags of a materialization only after the asset's body has returned, so they are compared twice:

- `papers_agree`, in the body: with what Dagster *will* write. It looked the parents up before the body began, and keeps what
  it found; a parent that was made again in between would be written down wrongly. Broken, it stops the materialization from
  being registered, promoted or read.
- `records_agree`, a check of its own: with what Dagster *did* write, and what store and MLflow hold by now. It runs after
  the asset, and at any later time from the UI.

Dagster's version of a sharded parent is a digest over its shards' tags, and cannot be compared; no checkpoint has one.
"""

from collections.abc import Callable, Sequence

import dagster as dg
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    INPUT_DATA_VERSION_TAG_PREFIX,
    INPUT_EVENT_POINTER_TAG_PREFIX,
)

from assets.checks import AFTERWARDS, RECORDS_AGREE, Outcome, none_of, result
from assets.parents import VERSION as VERSION_KEY
from assets.parents import Parents, latest_event, recorded_parents
from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import GRAPH, PASSPORT
from personamem_pipeline.passports import comparing
from personamem_pipeline.passports.comparing import Statement, statement
from personamem_pipeline.passports.making import makings
from personamem_pipeline.store import Store
from resources.store import StoreResource
from resources.tracking import Tracking

MLFLOW_RUN_ID = "mlflow_run_id"
"""Metadata key under which a materialization names its MLflow run."""


def build() -> list[dg.AssetChecksDefinition]:
    """`records_agree` of every asset that has it."""
    return [_records_agree(name) for name in AFTERWARDS]


def _records_agree(name: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=name, name=RECORDS_AGREE, blocking=True, description=AFTERWARDS[name][RECORDS_AGREE])
    def records_agree(
        context: dg.AssetCheckExecutionContext, store: StoreResource, tracking: Tracking
    ) -> dg.AssetCheckResult:
        return result(recorded(context.instance, name, store.open(), tracking))

    return records_agree


def recorded(instance: dg.DagsterInstance, name: str, store: Store, tracking: Tracking) -> Outcome:
    """Whether everything that is on record about the newest materialization of `name` agrees."""
    record = latest_event(instance, name, None)
    event = record.asset_materialization if record else None
    if record is None or event is None:
        return none_of(RECORDS_AGREE, [f"{name} was never materialized"])
    version = str(event.metadata[VERSION_KEY].value)
    run = event.metadata.get(MLFLOW_RUN_ID)
    mlflow_run = str(run.value) if run else ""
    said = [*_dagster_says(name, record, event, version, mlflow_run), *tracking.says(mlflow_run)]
    return compared(RECORDS_AGREE, said, store, GRAPH[name].kind, version, record.run_id, mlflow_run)


def compared(
    check: str, said: Sequence[Statement], store: Store, kind: str, version: str, dagster_run: str, mlflow_run: str
) -> Outcome:
    """The outcome of holding what was said elsewhere against the papers in the store."""
    own: list[Statement] = []
    problems: list[str] = []
    papers: tuple[Callable[[], Statement], ...] = (
        lambda: comparing.passport_says(
            store.read(kind, version, PASSPORT), f"{store.address(kind, version)}/{PASSPORT}"
        ),
        lambda: comparing.manifest_says(store.manifest(kind, version)),
        lambda: comparing.making_says(comparing.making_of_run(makings(store, version), dagster_run, mlflow_run)),
    )
    for paper in papers:  # each for itself, so that a broken one does not hide the others
        try:
            own.append(paper())
        except UserError as error:
            problems.append(str(error))
    everything = [*own, *said]
    problems += comparing.disagreements(everything)
    return none_of(check, problems, sources=", ".join(each.source for each in everything))


def this_run(parents: Parents) -> Statement:
    """What this run resolved and gave to the command."""
    events = {key: str(parent.storage_id) for key, parent in parents.items()}
    return statement("this run", inputs=parents.versions(), events=events)


def about_to_record(context: dg.AssetExecutionContext, name: str, code_version: str, version: str) -> Statement:
    """What Dagster will write to the materialization of this step: it read the parents before the step began."""
    step = context.get_step_execution_context()
    inputs, events = {}, {}
    for parent in GRAPH[name].parents:
        found = step.maybe_fetch_and_get_input_asset_version_info(dg.AssetKey(parent))
        if found is not None:
            events[parent] = str(found.storage_id)
            if found.data_version is not None:
                inputs[parent] = found.data_version.value
    facts = {
        comparing.STAGE: name,
        comparing.CODE: code_version,
        comparing.VERSION: version,
        comparing.DAGSTER_RUN: context.run_id,
    }
    return statement("Dagster", inputs=inputs, events=events, facts=facts)


def _dagster_says(
    name: str, record: dg.EventLogRecord, event: dg.AssetMaterialization, version: str, mlflow_run: str
) -> list[Statement]:
    """What the tags of a recorded materialization say, and what its metadata do, which our own resolver reads."""
    tags = event.tags or {}

    def per_parent(prefix: str) -> dict[str, str]:
        start = f"{prefix}/"
        return {tag.removeprefix(start): value for tag, value in tags.items() if tag.startswith(start)}

    facts = {
        comparing.STAGE: name,
        comparing.CODE: tags.get(CODE_VERSION_TAG),
        comparing.VERSION: tags.get(DATA_VERSION_TAG),
        comparing.DAGSTER_RUN: record.run_id,
    }
    inputs, events = per_parent(INPUT_DATA_VERSION_TAG_PREFIX), per_parent(INPUT_EVENT_POINTER_TAG_PREFIX)
    own = {comparing.VERSION: version, comparing.MLFLOW_RUN: mlflow_run}
    return [
        statement("Dagster's tags", inputs=inputs, events=events, facts=facts),
        statement("Dagster's metadata", inputs=recorded_parents(event), facts=own),
    ]
