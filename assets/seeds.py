"""`persona_seeds`: who the persons are, one sentence each, dealt to the shards by their index."""

from collections import Counter
from pathlib import Path

import dagster as dg

from assets.checks import Outcome, none_of
from assets.common import ShardResult, clear_errors, code_version, producer, sharded_result, stage_asset
from assets.parents import Parents
from personamem_pipeline.lineage import shard_names
from personamem_pipeline.personas.seeds import make_seeds
from personamem_pipeline.presets import DataConfig
from personamem_pipeline.records import PersonaSeed
from personamem_pipeline.seeds import digest
from resources.store import StoreResource

NAME = "persona_seeds"


def build(data: DataConfig) -> list[dg.AssetsDefinition]:
    """The seeds asset of a preset."""
    version = code_version("seeds/1", data.seed, data.shards, data.seeds, _file_digest(data.seeds.file))

    @stage_asset(
        NAME,
        version,
        {"parquet"},
        "One sentence per person, from a PersonaHub file or sampled from built-in tables; split by person.",
        data,
    )
    def persona_seeds(context: dg.AssetExecutionContext, store: StoreResource) -> dg.MaterializeResult:
        opened, names = store.open(), shard_names(data.shards)
        with clear_errors():
            everybody = make_seeds(data.seeds, data.seed)
            shards = []
            for shard in context.partition_keys:
                rows = everybody[names.index(shard) :: len(names)]
                made = producer(NAME, version, seed=str(data.seed))
                manifest = opened.write_rows(NAME, PersonaSeed, rows, parents={}, producer=made)
                shards.append(ShardResult(shard, manifest, len(rows)))
        return sharded_result(
            context,
            NAME,
            opened,
            Parents([]),
            shards,
            counts={f"{split}_persons": count for split, count in Counter(row.split for row in everybody).items()},
            sample=(row.model_dump() for row in everybody),
            outcomes=check(everybody),
        )

    return [persona_seeds]


def check(everybody: list[PersonaSeed]) -> list[Outcome]:
    """The stage's checks, over all shards: a person belongs to one shard only."""
    ids = Counter(row.person_id for row in everybody)
    splits = Counter(row.split for row in everybody)
    absent = [split for split in ("training", "benchmark") if split not in splits]
    return [
        none_of("unique_persons", [f"{key} occurs {n} times" for key, n in ids.items() if n > 1], persons=len(ids)),
        none_of("both_splits", [f"no {split} persons" for split in absent], **dict(splits)),
    ]


def _file_digest(file: str | None) -> str:
    path = Path(file) if file else None
    return digest(path.read_bytes()) if path and path.is_file() else ""
