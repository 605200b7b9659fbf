"""Gathering shards into the two datasets that everything downstream rests on, and proving what they promise.

`training_dataset` and `benchmark` are directories with `histories.parquet`, `questions.parquet`, `rejected.parquet` and
a card: admitted questions only, persons of one split only, everything else with the reason why not, in the order of the
ids whatever order the shards came in. The shards are passed over twice, so that memory stays flat: once for light facts,
by which everything is decided, and once to copy rows. The findings returned with a dataset are facts for people and for
Dagster's checks; the caller decides what blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from personamem_pipeline.arrow import stream_parquet
from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import QuestionsConfig
from personamem_pipeline.questions.balance import Attributes, Shares, balance, balanced
from personamem_pipeline.questions.card import CARD, dataset_card
from personamem_pipeline.questions.copying import HISTORIES, QUESTIONS, ShardFiles, copy_rows
from personamem_pipeline.questions.facts import QuestionFacts, history_facts, question_facts, question_texts
from personamem_pipeline.questions.findings import Evidence, Finding, Splits, completeness, disjoint_items
from personamem_pipeline.questions.funnel import funnel, origins
from personamem_pipeline.questions.near_duplicates import NearDuplicates
from personamem_pipeline.questions.slices import Slices, not_certified, slice_figures, trim, within_bounds
from personamem_pipeline.questions.tokens import Tokens
from personamem_pipeline.records import History, Persona, Question, Split
from personamem_pipeline.seeds import canonical_json
from personamem_pipeline.store import ROWS, Manifest, Store, full_disk_told

GatheredKind = Literal["training_dataset", "benchmark"]
SPLITS: dict[GatheredKind, Split] = {"training_dataset": "training", "benchmark": "benchmark"}
BOTH: tuple[Split, Split] = ("benchmark", "training")
"""In this order: the benchmark's texts are the index that training texts are looked up in."""


@dataclass(frozen=True)
class Gathered:
    """A gathered dataset, what was found about it, and the figures that describe it."""

    manifest: Manifest
    findings: tuple[Finding, ...]
    funnel: dict[str, Any]
    slices: Slices
    balance: dict[str, dict[str, int]]


def gather(
    store: Store,
    kind: GatheredKind,
    *,
    histories: Mapping[str, str],
    questions: Mapping[str, str],
    shards: Sequence[str],
    producer: Mapping[str, str],
    config: QuestionsConfig,
    personas: Mapping[str, str] | None = None,
    certified: bool = True,
    targets: Shares | None = None,
) -> Gathered:
    """Gather one split from the shards (name -> version) of both kinds, store it and say what was found.

    `personas` are read for their attributes and for persons with the same preferences. `certified=False` is for released
    rows: their certificates measure nothing, so no row goes for the bounds' sake, and evidence that nobody found may lack.
    The persons' attributes are held against `targets` (attribute -> value -> share); without targets the demographics are
    reported as not applicable. Raises `UserError` when a shard is missing: half a dataset is not a dataset.
    """
    kinds = {"histories": histories, "questions": questions} | ({"personas": personas} if personas is not None else {})
    complete = completeness(shards, kinds)
    if not complete.passed:
        raise UserError(
            f"shards are missing or unknown: {canonical_json(complete.facts)}",
            where=kind,
            expected=f"{', '.join(kinds)} of the shards {', '.join(shards)}",
            remedy="materialize the missing partitions first",
        )
    split = SPLITS[kind]
    files = ShardFiles(
        tuple(store.verified("histories", histories[shard]) / ROWS for shard in sorted(shards)),
        tuple(store.verified("questions", questions[shard]) / ROWS for shard in sorted(shards)),
    )
    written = sorted(chain.from_iterable(map(question_facts, files.questions)), key=lambda facts: facts.question_id)
    own = [facts for facts in written if facts.split == split]
    trimmed = {
        other: trim((facts for facts in written if facts.split == other), config) if certified else {} for other in BOTH
    }
    admitted = [facts for facts in written if facts.admitted and facts.question_id not in trimmed[facts.split]]
    ours = [facts for facts in admitted if facts.split == split]
    evidence = Evidence(ours, optional=not certified)
    splits, near = Splits(), NearDuplicates(config.near_duplicate)
    attributes = _see_persons(store, personas or {}, splits)
    persons, tokens, seen = _look(files, split, written, admitted, evidence, splits, near)
    behind = origins(store, split, [(name, found[shard]) for name, found in kinds.items() for shard in shards])
    lost = behind.rejections()
    figures, slices, counts = (
        funnel(own, trimmed[split], behind),
        slice_figures(ours, certified=certified),
        balance(ours),
    )
    planned = {name: row["planned"] for name, row in figures["by_type"].items()}
    spread = balanced(
        planned, ours, config, persons=persons[split], others=persons[_other(split)],
        attributes=attributes, targets=targets,
    )  # fmt: skip
    bounds = within_bounds(slices, config, trimmed[split]) if certified else not_certified(slices)
    findings = (complete, *seen, bounds, spread)
    card = dataset_card(
        kind, questions=ours, persons=len(persons[split]), rejected=len(lost) + len(own) - len(ours), tokens=tokens,
        funnel=figures, slices=slices, balance=counts, findings=findings[1:], producers=behind.producers,
        cost=behind.cost, certified=certified,
    )  # fmt: skip
    parents = {f"{name}/{shard}": kinds[name][shard] for name in sorted(kinds) for shard in shards}
    ids = {facts.question_id for facts in ours}
    with store.staging() as scratch:
        with full_disk_told(store.root):
            copy_rows(files, split, ids, trimmed[split], lost, scratch)
            (scratch / CARD).write_text(card)
        manifest = store.put_directory(kind, scratch, parents=parents, producer=producer)
    return Gathered(manifest, findings, figures, slices, counts)


def read_histories(store: Store, kind: GatheredKind, version: str) -> list[History]:
    """The histories of a gathered dataset by person id, after its digests were recomputed."""
    rows = stream_parquet(store.verified(kind, version) / HISTORIES, History)
    return sorted(rows, key=lambda row: row.person_id)


def read_questions(store: Store, kind: GatheredKind, version: str) -> list[Question]:
    """The admitted questions of a gathered dataset by id, after its digests were recomputed."""
    rows = stream_parquet(store.verified(kind, version) / QUESTIONS, Question)
    return sorted(rows, key=lambda row: row.question_id)


def _see_persons(store: Store, personas: Mapping[str, str], splits: Splits) -> Attributes:
    """Person id -> attributes, of everybody."""
    attributes: dict[str, dict[str, str]] = {}
    for version in personas.values():
        for person in store.stream_rows("personas", version, Persona):
            attributes[person.person_id] = person.attributes
            splits.add_person(person)
    return attributes


def _look(
    files: ShardFiles,
    split: Split,
    written: Sequence[QuestionFacts],
    admitted: Sequence[QuestionFacts],
    evidence: Evidence,
    splits: Splits,
    near: NearDuplicates,
) -> tuple[dict[Split, list[str]], Tokens, tuple[Finding, ...]]:
    """Persons of each split, token figures of one, and what a pass over the texts finds."""
    persons: dict[Split, list[str]] = {"benchmark": [], "training": []}
    tokens = Tokens()
    for question in written:
        splits.add_question(question)
    for other in BOTH:
        compare = near.add if other == "benchmark" else near.look_up
        for history in chain.from_iterable(history_facts(path, other) for path in files.histories):
            persons[other].append(history.person_id)
            splits.add_history(history)
            compare(history.evidence)
            if other == split:
                evidence.add_history(history.person_id, history.turns)
                tokens.add(history)
        wanted = {facts.question_id for facts in admitted if facts.split == other}
        compare(chain.from_iterable(question_texts(path, wanted) for path in files.questions))
    findings = (splits.finding(), disjoint_items(admitted), evidence.finding(), near.finding())
    return persons, tokens, findings


def _other(split: Split) -> Split:
    return "training" if split == "benchmark" else "benchmark"
