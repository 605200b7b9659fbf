"""`training_dataset` and `benchmark`: all shards of persons, histories and questions, gathered, split by person, checked.

They are unpartitioned, and training and evaluation depend on them rather than on the shards: with many partitions
Dagster would record the version of the last shard only as the version of the input.
"""

from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg

from assets.checks import SHOWN, Outcome, none_of, results
from assets.common import SAMPLE_ROWS, clear_errors, code_version, producer, stage_asset, table, whole_metadata
from assets.parents import Guard, resolve
from personamem_pipeline.arrow import stream_parquet
from personamem_pipeline.lineage import shard_names
from personamem_pipeline.personas.demographics import target_shares
from personamem_pipeline.presets import DataConfig
from personamem_pipeline.questions.card import CARD
from personamem_pipeline.questions.copying import QUESTIONS
from personamem_pipeline.questions.findings import Finding
from personamem_pipeline.questions.funnel import funnel_table
from personamem_pipeline.questions.gather import Gathered, GatheredKind, gather
from personamem_pipeline.questions.slices import slice_table
from personamem_pipeline.questions.viewer_cli import view_command
from personamem_pipeline.records import QUESTION_TYPES, Question
from personamem_pipeline.store import ATTACHED
from resources.store import StoreResource

DESCRIPTIONS: dict[GatheredKind, str] = {
    "training_dataset": "Admitted questions and histories of the training persons: what SFT and GRPO read.",
    "benchmark": "Admitted questions and histories of persons that no training row knows.",
}
FINDINGS = {
    "completeness": "complete_shards",
    "disjoint persons": "person_disjoint",
    "disjoint items": "no_shared_combinations",
    "no near duplicates": "no_near_duplicates",
    "whole evidence": "evidence_in_history",
    "within bounds": "within_bounds",
    "balanced": "balanced",
}
"""`gather`'s findings -> the checks that they are."""
PARENTS = ("personas", "histories", "questions")
VIEWER = "viewer.html"
"""Attached to each dataset: the page to browse it with."""


def build(data: DataConfig) -> list[dg.AssetsDefinition]:
    """Both gathered datasets of a preset."""
    return [_gathered(data, kind) for kind in DESCRIPTIONS]


def _gathered(data: DataConfig, kind: GatheredKind) -> dg.AssetsDefinition:
    # Beside sentences from a file the tables only hint: what the persons are, the sentences say.
    targets = target_shares(data.seeds) if data.seeds and not data.seeds.file else None
    version = code_version("gather/3", data.shards, data.questions, targets)
    shards = shard_names(data.shards)

    @stage_asset(kind, version, {"parquet"}, DESCRIPTIONS[kind])
    def gathered(context: dg.AssetExecutionContext, config: Guard, store: StoreResource) -> dg.MaterializeResult:
        opened = store.open()
        parents = resolve(context, kind, opened, guard=config, shards=shards)
        versions = {name: {shard: parents[f"{name}/{shard}"].version for shard in shards} for name in PARENTS}
        with clear_errors():
            made = gather(
                opened,
                kind,
                personas=versions["personas"],
                histories=versions["histories"],
                questions=versions["questions"],
                shards=shards,
                producer=producer(kind, version),
                config=data.questions,
                certified=data.released is None,
                targets=targets,
            )
            stored, address = opened.path(kind, made.manifest.version), opened.address(kind, made.manifest.version)
            with opened.staging() as scratch:
                view_command(f"{kind}/{made.manifest.version}", scratch / VIEWER, opened)
                opened.attach(kind, made.manifest.version, VIEWER, (scratch / VIEWER).read_bytes())
        outcomes = check(made)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(made.manifest.version),
            metadata={
                **whole_metadata(opened, kind, made.manifest.version, parents, outcomes),
                **_rows(stored),
                "questions": made.funnel["admitted"],
                "card": dg.MetadataValue.path(f"{address}/{CARD}"),
                "viewer": dg.MetadataValue.path(f"{address}/{ATTACHED}/{VIEWER}"),
                "funnel": dg.MetadataValue.md(funnel_table(made.funnel)),
                "slices": dg.MetadataValue.md(slice_table(made.slices)),
                "balance": dg.MetadataValue.json(made.balance),
            },
            check_results=results(kind, outcomes),
        )

    return gathered


def check(made: Gathered) -> list[Outcome]:
    """The stage's checks, from what gathering found."""
    types = made.balance["pref_type"]
    absent = [f"no {name} question" for name in QUESTION_TYPES if name not in types]
    return [*(_outcome(finding) for finding in made.findings), none_of("every_question_type", absent, **types)]


def _outcome(finding: Finding) -> Outcome:
    facts = {name: len(value) if isinstance(value, list) else value for name, value in finding.facts.items()}
    offenders = [
        f"{name}: {item}" for name, value in finding.facts.items() if isinstance(value, list) for item in value
    ]
    return Outcome(FINDINGS[finding.name], finding.passed, facts, tuple(offenders[:SHOWN]))


def _rows(stored: Path) -> dict[str, Any]:
    sample = islice(stream_parquet(stored / QUESTIONS, Question), SAMPLE_ROWS)
    return {
        "sample": table(
            {"question_id": q.question_id, "type": q.pref_type, "query": q.user_query, "right": q.correct_answer}
            for q in sample
        )
    }
