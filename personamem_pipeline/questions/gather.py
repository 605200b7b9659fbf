"""Gathering shards into the two datasets that everything downstream rests on, and proving what they promise.

`training_dataset` and `benchmark` are directories with `histories.parquet`, `questions.parquet` and a card: admitted
questions only, persons of one split only, in the order of their ids whatever order the shards came in. The findings
returned with them are facts for people and for Dagster's checks; the caller decides what blocks.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from personamem_pipeline.arrow import arrow_schema, from_arrow, to_arrow
from personamem_pipeline.errors import UserError
from personamem_pipeline.questions.card import CARD, dataset_card
from personamem_pipeline.records import History, Question, Split
from personamem_pipeline.seeds import canonical_json
from personamem_pipeline.store import Manifest, Store

RecordT = TypeVar("RecordT", bound=BaseModel)
GatheredKind = Literal["training_dataset", "benchmark"]
SPLITS: dict[GatheredKind, Split] = {"training_dataset": "training", "benchmark": "benchmark"}


class Finding(BaseModel):
    """One promise: whether it holds, and the figures that say so."""

    model_config = ConfigDict(frozen=True)
    name: str
    passed: bool
    facts: dict[str, Any]


@dataclass(frozen=True)
class Gathered:
    """A gathered dataset, what was found about it, and the figures that describe it."""

    manifest: Manifest
    findings: tuple[Finding, ...]
    funnel: dict[str, Any]
    balance: dict[str, dict[str, int]]


def gather(
    store: Store,
    kind: GatheredKind,
    *,
    histories: Mapping[str, str],
    questions: Mapping[str, str],
    shards: Sequence[str],
    producer: Mapping[str, str],
) -> Gathered:
    """Gather one split from the shards (name -> version) of both kinds, store it and say what was found.

    Raises `UserError` when a shard is missing: half a dataset is not a dataset.
    """
    complete = completeness(shards, histories, questions)
    if not complete.passed:
        raise UserError(
            f"shards are missing or unknown: {canonical_json(complete.facts)}",
            where=kind,
            expected=f"histories and questions of the shards {', '.join(shards)}",
            remedy="materialize the missing partitions of `histories` and `questions` first",
        )
    all_histories = [row for shard in shards for row in store.read_rows("histories", histories[shard], History)]
    all_questions = [row for shard in shards for row in store.read_rows("questions", questions[shard], Question)]
    split = SPLITS[kind]
    own_histories = sorted((h for h in all_histories if h.split == split), key=lambda row: row.person_id)
    own_questions = sorted((q for q in all_questions if q.split == split), key=lambda row: row.question_id)
    admitted = [question for question in own_questions if question.certificate.admitted]
    findings = (
        complete,
        disjoint_persons(all_histories, all_questions),
        disjoint_items([question for question in all_questions if question.certificate.admitted]),
        whole_evidence(own_histories, admitted),
    )
    figures, balanced = funnel(own_questions), balance(admitted)
    parents = {f"histories/{shard}": histories[shard] for shard in shards}
    parents |= {f"questions/{shard}": questions[shard] for shard in shards}
    store.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".gather-", dir=store.root) as scratch:
        _write(Path(scratch) / "histories.parquet", History, own_histories)
        _write(Path(scratch) / "questions.parquet", Question, admitted)
        card = dataset_card(kind, own_histories, admitted, figures, balanced)
        (Path(scratch) / CARD).write_text(card)
        manifest = store.put_directory(kind, Path(scratch), parents=parents, producer=producer)
    return Gathered(manifest, findings, figures, balanced)


def read_histories(store: Store, kind: GatheredKind, version: str) -> list[History]:
    """The histories of a gathered dataset, after its digests were recomputed."""
    return _read(store.verified(kind, version) / "histories.parquet", History)


def read_questions(store: Store, kind: GatheredKind, version: str) -> list[Question]:
    """The admitted questions of a gathered dataset, after its digests were recomputed."""
    return _read(store.verified(kind, version) / "questions.parquet", Question)


def completeness(shards: Sequence[str], histories: Mapping[str, str], questions: Mapping[str, str]) -> Finding:
    """Every shard is there, of both kinds, and none that was not asked for."""
    facts: dict[str, Any] = {"shards": len(shards)}
    for name, found in (("histories", histories), ("questions", questions)):
        facts[f"{name}_missing"] = sorted(set(shards) - set(found))
        facts[f"{name}_unknown"] = sorted(set(found) - set(shards))
    return Finding(name="completeness", passed=not any(facts[key] for key in facts if key != "shards"), facts=facts)


def disjoint_persons(histories: Sequence[History], questions: Sequence[Question]) -> Finding:
    """Nobody is in both splits, and no turn that reveals something is."""
    persons: dict[Split, set[str]] = {"training": set(), "benchmark": set()}
    reveals: dict[Split, set[str]] = {"training": set(), "benchmark": set()}
    for question in questions:
        persons[question.split].add(question.person_id)
    for history in histories:
        persons[history.split].add(history.person_id)
        for session in history.sessions:
            if session.event in ("reveals", "updates"):
                reveals[history.split] |= {m.content for m in session.messages if m.turn_id in session.evidence}
    shared = sorted(persons["training"] & persons["benchmark"])
    turns = sorted(reveals["training"] & reveals["benchmark"])
    facts = {
        "training_persons": len(persons["training"]),
        "benchmark_persons": len(persons["benchmark"]),
        "shared_persons": shared,
        "shared_revealing_turns": turns,
    }
    return Finding(name="disjoint persons", passed=not shared and not turns, facts=facts)


def disjoint_items(questions: Sequence[Question]) -> Finding:
    """No combination of query and preference is in both splits."""
    items: dict[Split, dict[tuple[str, str], str]] = {"training": {}, "benchmark": {}}
    for question in questions:
        key = (question.user_query, question.preference)
        items[question.split][key] = question.question_id
    shared = sorted(items["benchmark"][key] for key in items["training"].keys() & items["benchmark"].keys())
    facts = {
        "training_items": len(items["training"]),
        "benchmark_items": len(items["benchmark"]),
        "shared_items": shared,
    }
    return Finding(name="disjoint items", passed=not shared, facts=facts)


def whole_evidence(histories: Sequence[History], questions: Sequence[Question]) -> Finding:
    """Every question's evidence is in its person's history."""
    turns = {history.person_id: {message.turn_id for message in history.messages} for history in histories}
    lacking = sorted(
        question.question_id
        for question in questions
        if not question.evidence or not set(question.evidence) <= turns.get(question.person_id, set())
    )
    facts = {"questions": len(questions), "questions_without_evidence": lacking}
    return Finding(name="whole evidence", passed=not lacking, facts=facts)


def funnel(questions: Sequence[Question]) -> dict[str, Any]:
    """Written, refused by (every) reason, admitted; and what answering by length alone would score."""
    reasons = Counter(reason.partition(":")[0] for q in questions for reason in q.certificate.reasons)
    admitted = [question for question in questions if question.certificate.admitted]
    ranks = Counter(question.certificate.length_rank for question in admitted)
    return {
        "written": len(questions),
        "refused": dict(sorted(reasons.items())),
        "admitted": len(admitted),
        "right_is_longest": round(ranks[3] / max(1, len(admitted)), 3),
        "right_is_shortest": round(ranks[0] / max(1, len(admitted)), 3),
    }


def balance(questions: Sequence[Question]) -> dict[str, dict[str, int]]:
    """How many questions of each type, whose, updated or not, wording, and scenario."""
    columns = ("pref_type", "who", "updated", "wording", "conversation_scenario")
    return {name: dict(sorted(Counter(str(getattr(q, name)) for q in questions).items())) for name in columns}


def _write(path: Path, record: type[RecordT], rows: Sequence[RecordT]) -> None:
    table = pa.Table.from_pylist([to_arrow(row) for row in rows], schema=arrow_schema(record))
    pq.write_table(table, path, compression="zstd")


def _read(path: Path, record: type[RecordT]) -> list[RecordT]:
    return [from_arrow(record, row) for row in pq.read_table(path).to_pylist()]
