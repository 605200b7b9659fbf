"""What all assets share: code versions, metadata and the two shapes of result (sharded, and one whole)."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel

from assets.checks import Outcome, alarms, broken, results, specs
from assets.parents import ALARMS, FAILED, PARENTS, PATH, VERSION, Parents
from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import GRAPH, combined_version, shard_names
from personamem_pipeline.llm.client import Endpoint
from personamem_pipeline.llm.progress import Meter
from personamem_pipeline.passports.records import FILE
from personamem_pipeline.presets import DataConfig
from personamem_pipeline.seeds import digest
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.store import Manifest, Store, sha256_file

SAMPLE_ROWS = 5
CELL = 160
TELL_SECONDS = 30
POOL = "h100"
"""Its limit is in dagster.yaml: the nodes of a cluster; none on a laptop."""


@dataclass(frozen=True)
class ShardResult:
    """One stored shard."""

    shard: str
    manifest: Manifest
    rows: int


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn an error that a person can act on into a failure that says just that, and is not tried again."""
    try:
        yield
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def tell(context: dg.AssetExecutionContext, what: str, endpoint: Endpoint) -> Callable[[int, int], None]:
    """A progress callback that logs twice a minute: an endpoint may take hours, and silence looks like a hang. Not
    more often, because every log line is a row in Dagster's event log and costs 40 ms on SQLite."""
    last = time.monotonic()
    meter = Meter(endpoint.usage, time.monotonic)

    def progress(done: int, planned: int) -> None:
        nonlocal last
        if time.monotonic() - last > TELL_SECONDS:
            last = time.monotonic()
            context.log.info(f"{what}: {meter.line(done, planned)}")

    return progress


def code_version(constant: str, *parts: Any) -> str:
    """`<constant>+<12 hex>`: the constant is bumped by hand when a stage's code changes its rows, the digest follows
    the preset sections and prompts that the stage reads. Not the git commit: that would make every commit stale."""
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    return f"{constant}+{digest(plain)[:12]}"


def file_digest(path: Path) -> str:
    """The digest of a file that a preset names; empty when it cannot be read, which is told when the asset is made."""
    return sha256_file(path) if path.is_file() else ""


def partitions(data: DataConfig) -> dg.StaticPartitionsDefinition:
    """The shards as Dagster partitions; at most 99, because Dagster's input versions lie from 100 on."""
    return dg.StaticPartitionsDefinition(list(shard_names(data.shards)))


def stage_asset(
    name: str, version: str, kinds: set[str], description: str, data: DataConfig | None = None
) -> Callable[[Callable[..., dg.MaterializeResult]], dg.AssetsDefinition]:
    """`@dg.asset` with all that follows from the graph; sharded when given the `data` section.

    Every asset has the single-run backfill policy, the unpartitioned ones too: `dagster asset materialize` refuses a
    partition range otherwise, and a range is how one command builds shards and checkpoints together.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # says that backfill_policy is new
        return _asset(name, version, kinds, description, data)


def _asset(
    name: str, version: str, kinds: set[str], description: str, data: DataConfig | None
) -> Callable[[Callable[..., dg.MaterializeResult]], dg.AssetsDefinition]:
    return dg.asset(
        name=name,
        deps=list(GRAPH[name].parents),
        group_name=GRAPH[name].group,
        kinds=kinds,
        code_version=version,
        description=description,
        check_specs=specs(name),
        partitions_def=partitions(data) if data else None,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL if GRAPH[name].gpu else None,
    )


def producer(stage: str, version: str, **more: str) -> dict[str, str]:
    """What a stored manifest says of its maker."""
    return {"stage": stage, "code_version": version, **more}


def written_by(author: str, seed: int, *prompts: str, **more: str) -> dict[str, str]:
    """What a producer says of the model that wrote the rows; of the prompts it says the digest of their texts."""
    return {"author": author, "seed": str(seed), "prompts": digest(list(prompts)), **more}


def made_from(*paths: str) -> dict[str, str]:
    """What a producer says of the files that the rows come from; paths as the preset names them."""
    with clear_errors():
        return {f"{FILE}{path}": _file_digest(PROJECT / Path(path).expanduser()) for path in paths}


def _file_digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise UserError(
            f"cannot be read: {error.strerror}", where=path, remedy="put the file there, or correct the preset's data"
        ) from error


def table(rows: Iterable[Mapping[str, Any]]) -> dg.MetadataValue:
    """A sample for people: at most five rows, every cell cut to a line."""
    records = [
        dg.TableRecord({name: _cell(value) for name, value in row.items()})
        for _, row in zip(range(SAMPLE_ROWS), rows, strict=False)
    ]
    names = list(records[0].data) if records else ["empty"]
    return dg.MetadataValue.table(
        records, schema=dg.TableSchema([dg.TableColumn(name, type="string") for name in names])
    )


def sharded_result(
    context: dg.AssetExecutionContext,
    name: str,
    store: Store,
    parents: Parents,
    shards: Sequence[ShardResult],
    *,
    counts: Mapping[str, int | float],
    sample: Iterable[Mapping[str, Any]],
    outcomes: list[Outcome],
    reasons: Mapping[str, int] | None = None,
    endpoints: Sequence[Endpoint] = (),
) -> dg.MaterializeResult:
    """One result for all shards of this run. Dagster gives them one data version, the digest over theirs; each shard's
    own version, path and parents are metadata of its partition, and are what the resolver reads."""
    failed = ", ".join(broken(name, outcomes))
    for done in shards:
        context.add_asset_metadata(
            {
                VERSION: done.manifest.version,
                PATH: dg.MetadataValue.path(store.address(done.manifest.kind, done.manifest.version)),
                PARENTS: dg.MetadataValue.json(parents.versions(done.shard)),
                FAILED: failed,
                "rows": done.rows,
            },
            partition_key=done.shard,
        )
    version = combined_version({done.shard: done.manifest.version for done in shards})
    return dg.MaterializeResult(
        data_version=dg.DataVersion(version),
        metadata={
            **counts,
            **_spent(endpoints),
            **({"rejected_because": dg.MetadataValue.json(dict(reasons))} if reasons else {}),
            "sample": table(sample),
        },
        check_results=results(name, outcomes),
    )


def _spent(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """What asking cost this run, cache hits apart; the second reader's under its own names."""
    return {
        f"{name}_{key}": value
        for name, endpoint in zip(("llm", "reader"), endpoints, strict=False)
        for key, value in asdict(endpoint.usage).items()
        if value is not None
    }


def whole_metadata(store: Store, name: str, version: str, parents: Parents, outcomes: list[Outcome]) -> dict[str, Any]:
    """The metadata by which the resolver finds an unpartitioned asset again."""
    kind = GRAPH[name].kind
    return {
        VERSION: version,
        PATH: dg.MetadataValue.path(store.address(kind, version)),
        PARENTS: dg.MetadataValue.json(parents.versions()),
        FAILED: ", ".join(broken(name, outcomes)),
        ALARMS: ", ".join(alarms(name, outcomes)),
    }


def _cell(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= CELL else text[: CELL - 1] + "…"
