"""The checks of every stage: one table, so that assets declare and the resolver asks for the same ones.

A promise blocks: nothing reads data that break it. What is watched only tells people: a model that got worse is no fault of
the report that says so.

Only the names and promises stand here. Each is computed by its stage, in the process that has the rows at hand, and
reported with the materialization.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

SHOWN = 5
"""Offenders that a check names; all are counted."""
PAPERS_AGREE, RECORDS_AGREE = "papers_agree", "records_agree"
NOTHING_LOST = "Every planned row is there or was rejected with a reason, and no other row is."

PROMISES: Mapping[str, Mapping[str, str]] = {
    "persona_seeds": {
        "unique_persons": "No person occurs twice.",
        "both_splits": "Training and benchmark persons are both there.",
    },
    "personas": {
        "whole_persons": "Every person has preferences with a topic and a text; a change follows what it replaces.",
        "no_duplicate_preferences": "No person holds the same preference twice.",
        "nothing_lost": NOTHING_LOST,
        "few_rejected": "At least four fifths of the seeds became persons.",
    },
    "conversations": {
        "evidence_present": "Every session that gives something away names turns of its own as evidence.",
        "roles_alternate": "In what was written here, user and assistant take turns, and the user speaks first.",
        "nothing_lost": NOTHING_LOST,
        "few_rejected": "At least four fifths of the planned sessions were written.",
    },
    "histories": {
        "in_time_order": "Sessions are in time order and turn ids are unique within a history.",
        "evidence_kept": "No turn that carries evidence was cut.",
        "within_budget": "A history is over its token budget only where evidence alone is.",
        "nothing_lost": "Every person has a history, and nobody else has.",
    },
    "questions": {
        "certificates_present": "Every question has a certificate, and a refused one says why.",
        "nothing_lost": NOTHING_LOST,
        "share_admitted": "At least half of the questions were admitted.",
        "evidence_in_history": "Every question's evidence is in its person's history.",
    },
    **{
        dataset: {
            "complete_shards": "Every shard of personas, histories and questions is in it.",
            "person_disjoint": f"None of its persons, and no turn that reveals something, is in the {other} too.",
            "no_shared_combinations": f"No combination of query and preference is in the {other} too.",
            "no_near_duplicates": f"No query, revealing turn or right answer is a near-duplicate of one in the {other}.",
            "evidence_in_history": "Every question's evidence is in its person's history.",
            "within_bounds": "Blind, oracle and length guesses keep their bounds over the dataset and each type.",
            "balanced": "Question types, topics and demographics are as they were aimed at.",
            "every_question_type": "Every question type is there.",
        }
        for dataset, other in (("training_dataset", "benchmark"), ("benchmark", "training dataset"))
    },
    **{
        stage: {
            "loads_whole": "Every file of the checkpoint has the digest that its manifest names.",
            PAPERS_AGREE: "Passport, manifest, making, MLflow and what Dagster will record name the same parents and runs.",
            "metrics_finite": "Every reported metric is a finite number.",
        }
        for stage in ("base_model", "sft_checkpoint", "grpo_checkpoint")
    },
    "benchmark_report": {
        "loads_whole": "Every file of the report has the digest that its manifest names.",
        "all_answers": "Every system answered every question in every option order.",
        "causal_memories": "No memory that counts as written before the question changes with the question.",
        "metrics_finite": "Every reported metric is a finite number.",
    },
}
AFTERWARDS: Mapping[str, Mapping[str, str]] = {
    stage: {RECORDS_AGREE: "Passport, manifest, making and MLflow agree with what Dagster has recorded."}
    for stage in ("base_model", "sft_checkpoint", "grpo_checkpoint")
}
"""Blocking checks that run as steps of their own, once the materialization is on record (`papers`)."""
WATCHED: Mapping[str, Mapping[str, str]] = {
    "benchmark_report": {
        "no_regression": "No watched system is worse than in the report before, by the bounds of the preset.",
    },
}


@dataclass(frozen=True)
class Outcome:
    """What one check found. `problems` are the first few offenders, for people."""

    name: str
    passed: bool
    facts: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def none_of(name: str, problems: list[str], **facts: Any) -> Outcome:
    """An outcome that passes when there are no problems; counts them all, keeps the first five."""
    return Outcome(name, not problems, {"problems": len(problems), **facts}, tuple(problems[:SHOWN]))


def specs(asset: str) -> list[dg.AssetCheckSpec]:
    """The check specs of an asset."""
    return [
        dg.AssetCheckSpec(name, asset=asset, blocking=blocking, description=text)
        for blocking, texts in ((True, PROMISES[asset]), (False, WATCHED.get(asset, {})))
        for name, text in texts.items()
    ]


def broken(asset: str, outcomes: Sequence[Outcome]) -> list[str]:
    """The promises that were not kept; what is only watched is none."""
    return [outcome.name for outcome in outcomes if not outcome.passed and outcome.name in PROMISES[asset]]


def alarms(asset: str, outcomes: Sequence[Outcome]) -> list[str]:
    """What is watched and went wrong."""
    return [outcome.name for outcome in outcomes if not outcome.passed and outcome.name in WATCHED.get(asset, {})]


def results(asset: str, outcomes: list[Outcome]) -> list[dg.AssetCheckResult]:
    """Dagster's form of the outcomes; every check of the asset must be among them, once."""
    named = sorted([*PROMISES[asset], *WATCHED.get(asset, {})])
    if sorted(outcome.name for outcome in outcomes) != named:
        raise dg.DagsterInvariantViolationError(
            f"{asset} has the checks {named} but computed {[o.name for o in outcomes]}"
        )
    return [result(outcome) for outcome in outcomes]


def result(outcome: Outcome) -> dg.AssetCheckResult:
    """Dagster's form of one outcome."""
    return dg.AssetCheckResult(
        passed=bool(outcome.passed),
        check_name=outcome.name,
        metadata={**outcome.facts, "examples": dg.MetadataValue.json([text[:300] for text in outcome.problems])},
    )
