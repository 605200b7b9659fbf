"""The benchmark's questions as Inspect samples: one per question and option order, labels in the metadata.

A sample's input is what the person asks. The history is not in it (a chat of 128k tokens times all questions would be
gigabytes): solvers take it from the `Library`, which keeps every person's chat once, compressed.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from inspect_ai.dataset import MemoryDataset, Sample

from personamem_pipeline.evaluation.asked import Asked
from personamem_pipeline.evaluation.find_source import find_source
from personamem_pipeline.evaluation.released_source import released_source
from personamem_pipeline.evaluation.scoring.answers import AnswerKey, answer_key, leaks
from personamem_pipeline.evaluation.source import Person, Source
from personamem_pipeline.records import History, Question
from personamem_pipeline.store import Store

BATCH = 100
"""People per batch of the source; here they are only passed by."""


@dataclass(frozen=True)
class Library:
    """What solvers and scorers look up: everybody's chat, and what replies are read with."""

    key: AnswerKey
    source: Source
    chats: Mapping[str, bytes] = field(repr=False)
    """Person id -> their history as compressed JSON."""

    @classmethod
    def of(cls, source: Source) -> Library:
        chats = {
            person.person_id: zlib.compress(person.history.model_dump_json().encode()) for person in source.people()
        }
        return cls(answer_key(source), source, chats)

    def person(self, person_id: str) -> Person:
        """One person with their whole history and all of their questions."""
        history = History.model_validate_json(zlib.decompress(self.chats[person_id]))
        return Person(history, self.source.by_person[person_id], self.source.profiles.get(person_id, ""))

    def asked(self, question_id: str, order: int) -> Asked:
        """A question with its options under letters, after the whole history."""
        return self.key.asked[(question_id, order, "end")]

    def question(self, question_id: str) -> Question:
        return self.asked(question_id, 0).question

    def __str__(self) -> str:  # Inspect logs the arguments of solvers and scorers
        return self.source.where


def open_source(benchmark: str, store: Store, *, root: str, orders: int, seed: int, persons: int | None) -> Source:
    """The benchmark that is meant, as far as its first `persons` people by id (None: all).

    `benchmark` as on the command line: a version or how it begins, a directory, or empty where the store has just one.
    With `root` it is a released table whose histories are below `root`.
    """
    if root:
        table = Path(benchmark)
        source = released_source(table, Path(root), orders=orders, seed=seed, people_per_batch=BATCH).source
    else:
        source = find_source(store, benchmark or None, orders=orders, seed=seed, people_per_batch=BATCH)
    if persons is None:
        return source
    chosen = set(list(source.by_person)[:persons])
    return replace(source, questions=[question for question in source.questions if question.person_id in chosen])


def choices(library: Library) -> MemoryDataset:
    """One sample `question_id/order` for every question in every option order."""
    rows = [asked for (_, _, moment), asked in library.key.asked.items() if moment == "end"]
    return _dataset(
        library,
        [
            Sample(
                input="\n".join(
                    [row.question.user_query, *(f"({letter}) {text}" for letter, text in row.options.items())]
                ),
                choices=list(row.options.values()),
                target=row.right,
                id=f"{row.question.question_id}/{row.order}",
                metadata={
                    **library.key.labels[row.question.question_id],
                    "order": row.order,
                    "leaking": [letter for letter, text in row.options.items() if leaks(row.question, text)],
                },
            )
            for row in rows
        ],
    )


def open_questions(library: Library) -> MemoryDataset:
    """One sample `question_id/open` for every question, without options; the target is one good answer of many."""
    return _dataset(
        library,
        [
            Sample(
                input=question.user_query,
                target=question.correct_answer,
                id=f"{question.question_id}/open",
                metadata=dict(library.key.labels[question.question_id]),
            )
            for question in library.source.questions
        ],
    )


def _dataset(library: Library, samples: Sequence[Sample]) -> MemoryDataset:
    # Everybody's first sample comes before anybody's second: the memories of all people are then written side by side,
    # where people in a row would wait for one writer.
    turn: Counter[str] = Counter()
    placed = []
    for sample in samples:
        person = (sample.metadata or {})["person_id"]
        placed.append((turn[person], sample))
        turn[person] += 1
    ordered = [sample for _, sample in sorted(placed, key=lambda row: row[0])]
    return MemoryDataset(ordered, name=Path(library.source.where).name, location=library.source.where)
