"""`training_dataset` and `benchmark`: all shards of histories and questions, gathered, split by person, checked.

They are unpartitioned, and training and evaluation depend on them rather than on the shards: with many partitions
Dagster would record the version of the last shard only as the version of the input.
"""

from typing import Any

import dagster as dg

from assets.checks import Outcome, none_of, results
from assets.common import clear_errors, code_version, producer, stage_asset, table, whole_metadata
from assets.parents import Guard, resolve
from personamem_pipeline.lineage import shard_names
from personamem_pipeline.presets import DataConfig
from personamem_pipeline.questions.card import CARD
from personamem_pipeline.questions.gather import Finding, Gathered, GatheredKind, gather, read_questions
from personamem_pipeline.records import QUESTION_TYPES
from personamem_pipeline.store import Store
from resources.store import StoreResource

DESCRIPTIONS: dict[GatheredKind, str] = {
    "training_dataset": "Admitted questions and histories of the training persons: what SFT and GRPO read.",
    "benchmark": "Admitted questions and histories of persons that no training row knows.",
}
FINDINGS = {
    "completeness": "complete_shards",
    "disjoint persons": "person_disjoint",
    "disjoint items": "no_shared_combinations",
    "whole evidence": "evidence_in_history",
}
"""`gather`'s findings -> the checks that they are."""


def build(data: DataConfig) -> list[dg.AssetsDefinition]:
    """Both gathered datasets of a preset."""
    return [_gathered(data, kind) for kind in DESCRIPTIONS]


def _gathered(data: DataConfig, kind: GatheredKind) -> dg.AssetsDefinition:
    version = code_version("gather/2", data.shards)
    shards = shard_names(data.shards)

    @stage_asset(kind, version, {"parquet"}, DESCRIPTIONS[kind])
    def gathered(context: dg.AssetExecutionContext, config: Guard, store: StoreResource) -> dg.MaterializeResult:
        opened = store.open()
        parents = resolve(context, kind, opened, guard=config, shards=shards)
        with clear_errors():
            made = gather(
                opened,
                kind,
                histories={shard: parents[f"histories/{shard}"].version for shard in shards},
                questions={shard: parents[f"questions/{shard}"].version for shard in shards},
                shards=shards,
                producer=producer(kind, version),
            )
        outcomes = check(made)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(made.manifest.version),
            metadata={
                **whole_metadata(opened, kind, made.manifest.version, parents, outcomes),
                **_counts(opened, kind, made),
                "card": dg.MetadataValue.path(str(opened.path(kind, made.manifest.version) / CARD)),
                "funnel": dg.MetadataValue.json(made.funnel),
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
    return Outcome(FINDINGS[finding.name], finding.passed, facts, tuple(offenders[:5]))


def _counts(store: Store, kind: GatheredKind, made: Gathered) -> dict[str, Any]:
    questions = read_questions(store, kind, made.manifest.version)
    return {
        "questions": len(questions),
        "persons": len({question.person_id for question in questions}),
        "sample": table(
            {"question_id": q.question_id, "type": q.pref_type, "query": q.user_query, "right": q.correct_answer}
            for q in questions
        ),
    }
