"""`persona_seeds`: who the persons are, one sentence each, dealt to the shards by their index."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from assets.checks import Outcome, none_of
from assets.common import (
    ShardResult,
    clear_errors,
    code_version,
    file_digest,
    made_from,
    producer,
    sharded_result,
    stage_asset,
)
from assets.parents import Parents
from personamem_pipeline.lineage import shard_names
from personamem_pipeline.personas.demographics import tables_path
from personamem_pipeline.personas.seeds import draw_seeds
from personamem_pipeline.presets import DataConfig
from personamem_pipeline.questions.released_files import table_paths
from personamem_pipeline.questions.released_inspect import inspect_released
from personamem_pipeline.questions.released_records import released_seeds, released_strays
from personamem_pipeline.records import PersonaSeed
from personamem_pipeline.settings import PROJECT
from resources.store import StoreResource

NAME = "persona_seeds"


def build(data: DataConfig) -> list[dg.AssetsDefinition]:
    """The seeds asset of a preset."""
    version = code_version("seeds/3", data.seed, data.shards, data.seeds, data.released, *_read(data))

    @stage_asset(
        NAME,
        version,
        {"parquet"},
        "One sentence per person, from a PersonaHub file or demographic tables; split by person.",
        data,
    )
    def persona_seeds(context: dg.AssetExecutionContext, store: StoreResource) -> dg.MaterializeResult:
        opened, names = store.open(), shard_names(data.shards)
        with clear_errors():
            everybody, facts = _everybody(data)
            made = producer(
                NAME, version, **({} if data.released else {"seed": str(data.seed)}), **made_from(*_files(data))
            )
            strays = released_strays(data.released) if data.released else []
            shards = []
            for shard in context.partition_keys:
                rows = everybody[names.index(shard) :: len(names)]
                lost = (
                    strays if shard == names[0] else []
                )  # rows of nobody: they have no shard, so the first keeps them
                manifest = opened.write_rows(NAME, PersonaSeed, rows, parents={}, producer=made, rejected=lost)
                shards.append(ShardResult(shard, manifest, len(rows)))
        splits = Counter(row.split for row in everybody)
        reasons = Counter(row.reason.partition(":")[0] for row in strays)
        return sharded_result(
            context,
            NAME,
            opened,
            Parents([]),
            shards,
            counts={**{f"{split}_persons": count for split, count in splits.items()}, **facts},
            sample=(row.model_dump() for row in everybody),
            outcomes=check(everybody),
            reasons=reasons,
        )

    return [persona_seeds]


def _everybody(data: DataConfig) -> tuple[list[PersonaSeed], Mapping[str, Any]]:
    """All persons, and what the file they came from holds."""
    if data.released:
        return released_seeds(data.released), {
            "report": dg.MetadataValue.md(inspect_released(data.released).markdown())
        }
    assert data.seeds is not None  # DataConfig: what is not released is written, for these seeds
    drawn = draw_seeds(data.seeds, data.seed)
    return drawn.rows, {"file_sentences": drawn.lines, "file_duplicates": drawn.duplicates}


def check(everybody: list[PersonaSeed]) -> list[Outcome]:
    """The stage's checks, over all shards: a person belongs to one shard only."""
    ids = Counter(row.person_id for row in everybody)
    splits = Counter(row.split for row in everybody)
    absent = [split for split in ("training", "benchmark") if split not in splits]
    return [
        none_of("unique_persons", [f"{key} occurs {n} times" for key, n in ids.items() if n > 1], persons=len(ids)),
        none_of("both_splits", [f"no {split} persons" for split in absent], **dict(splits)),
    ]


def _read(data: DataConfig) -> list[str]:
    """Digests of the files that the seeds come from."""
    return [file_digest(PROJECT / Path(name).expanduser()) for name in _files(data)]


def _files(data: DataConfig) -> list[str]:
    """The files that the seeds come from, as the preset names them."""
    if data.seeds is None:
        return list(table_paths(data.released)) if data.released else []
    tables = tables_path(data.seeds.tables)
    own = tables.relative_to(PROJECT) if tables.is_relative_to(PROJECT) else tables
    return [own.as_posix(), *([data.seeds.file] if data.seeds.file else [])]
