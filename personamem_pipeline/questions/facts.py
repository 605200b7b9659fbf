"""What deciding about a dataset needs of its rows, read column by column.

A dataset of a thousand persons is far larger than memory should be, but its ids, types and certificates are not. They
are read here without the texts beside them; texts that must be compared pass through one at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Any, NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel

from personamem_pipeline.arrow import arrow_schema, to_arrow
from personamem_pipeline.errors import UserError
from personamem_pipeline.questions.shape import GUESSERS, guess_score, plain_guess
from personamem_pipeline.records import History, Question, Split

SHAPES = tuple(name for name in GUESSERS if name not in ("longest", "shortest"))
"""Guessers by shape that no certificate records."""
QUESTION_BATCH, HISTORY_BATCH = 64, 8
"""Rows in memory at a time; a history of 128k tokens is half a megabyte of text."""
BUFFER = 1 << 14
"""Bytes read ahead per column, so that an open shard costs its pages and not its row groups."""
_QUESTION = [
    "question_id", "person_id", "split", "pref_type", "topic", "who", "updated", "wording", "conversation_scenario",
    "author", "user_query", "preference", "correct_answer", "incorrect_answers", "incorrect_kinds", "evidence",
    "certificate",
]  # fmt: skip
_SESSION = "sessions.list.element."
_HISTORY = [
    "person_id", "split", "tokens", "tokenizer", "gpt4o_tokens", "padding_tokens",
    *(_SESSION + name for name in ("event", "evidence", "messages")),
]  # fmt: skip


class Text(NamedTuple):
    """A text of one split that must not come back in the other one. `name` says which it is, for people."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class QuestionFacts:
    """A question without its texts."""

    question_id: str
    person_id: str
    split: Split
    pref_type: str
    topic: str
    who: str
    updated: bool
    wording: str
    conversation_scenario: str
    author: str
    item: bytes
    """Digest of the combination of query and preference."""
    evidence: tuple[str, ...]
    readers: tuple[str, ...]
    blind: float
    blind_by_reader: tuple[float, ...]
    oracle: float
    update: float | None
    swapped: float
    implicitness: float
    longest: float
    shortest: float
    shapes: tuple[float, ...]
    """What each of `SHAPES` scores."""
    plain: float | None
    """What always picking the plain option scores; None where no option is plain."""
    admitted: bool
    """By its certificate."""
    codes: tuple[str, ...]
    """Codes of the certificate's reasons."""

    @classmethod
    def of(cls, question: Question) -> QuestionFacts:
        """The facts of a whole question."""
        return cls.from_row(to_arrow(question))

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> QuestionFacts:
        """The facts of a row as `Table.to_pylist()` gives it."""
        measured = row["certificate"]
        options = (row["correct_answer"], *row["incorrect_answers"])
        return cls(
            question_id=row["question_id"], person_id=intern(row["person_id"]), split=row["split"],
            pref_type=intern(row["pref_type"]), topic=intern(row["topic"]), who=intern(row["who"]),
            updated=row["updated"], wording=intern(row["wording"]),
            conversation_scenario=intern(row["conversation_scenario"]), author=intern(row["author"]),
            item=text_digest(f"{row['user_query']}\0{row['preference']}"), evidence=tuple(row["evidence"]),
            readers=tuple(map(intern, measured["readers"])), blind=measured["blind_accuracy"],
            blind_by_reader=tuple(measured["blind_by_reader"]), oracle=measured["oracle_accuracy"],
            update=measured["update_accuracy"], swapped=measured["swapped_accuracy"],
            implicitness=measured["implicitness"], longest=measured["longest_guess"],
            shortest=measured["shortest_guess"],
            shapes=tuple(guess_score(GUESSERS[name], options) for name in SHAPES),
            plain=plain_guess(row["incorrect_kinds"]),
            admitted=measured["admitted"], codes=tuple(intern(code_of(reason)) for reason in measured["reasons"]),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class HistoryFacts:
    """A history's figures, its turn ids, and the user turns that carry evidence."""

    person_id: str
    split: Split
    tokens: int
    tokenizer: str
    gpt4o_tokens: int
    padding_tokens: int
    turns: frozenset[str]
    evidence: tuple[Text, ...]
    """What the user says in turns that reveal, update, or ask to forget; `name` is the turn id."""
    revealing: tuple[Text, ...]
    """Every turn that reveals or updates, whoever speaks."""

    @classmethod
    def of(cls, history: History) -> HistoryFacts:
        """The facts of a whole history."""
        return cls.from_row(to_arrow(history))

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> HistoryFacts:
        """The facts of a row as `Table.to_pylist()` gives it."""
        turns: list[str] = []
        evidence: list[Text] = []
        revealing: list[Text] = []
        for session in row["sessions"]:
            carriers = set(session["evidence"])
            for message in session["messages"]:
                turns.append(message["turn_id"])
                if message["turn_id"] in carriers:
                    text = Text(message["turn_id"], message["content"])
                    evidence += [text] if message["role"] == "user" else []
                    revealing += [text] if session["event"] in ("reveals", "updates") else []
        return cls(
            row["person_id"], row["split"], row["tokens"], row["tokenizer"], row["gpt4o_tokens"],
            row["padding_tokens"], frozenset(turns), tuple(evidence), tuple(revealing),
        )  # fmt: skip


def question_facts(path: Path) -> Iterator[QuestionFacts]:
    """The facts of all questions of a shard."""
    with opened(path, Question) as file:
        for batch in file.iter_batches(QUESTION_BATCH, columns=_QUESTION):
            yield from map(QuestionFacts.from_row, batch.to_pylist())


def history_facts(path: Path, split: Split) -> Iterator[HistoryFacts]:
    """The facts of a shard's histories of one split."""
    with opened(path, History) as file:
        for batch in file.iter_batches(HISTORY_BATCH, columns=_HISTORY):
            yield from map(HistoryFacts.from_row, batch.filter(pc.equal(batch["split"], split)).to_pylist())


def question_texts(path: Path, wanted: Container[str]) -> Iterator[Text]:
    """The query and the right answer of a shard's `wanted` questions."""
    with opened(path, Question) as file:
        for batch in file.iter_batches(QUESTION_BATCH, columns=["question_id", "user_query", "correct_answer"]):
            for row in batch.to_pylist():
                if row["question_id"] in wanted:
                    yield Text(f"{row['question_id']} query", row["user_query"])
                    yield Text(f"{row['question_id']} answer", row["correct_answer"])


@contextmanager
def opened(path: Path, record: type[BaseModel]) -> Iterator[pq.ParquetFile]:
    """A shard's file; `UserError` when its columns are not those of `record`."""
    with pq.ParquetFile(path, buffer_size=BUFFER) as file:
        if not file.schema_arrow.equals(arrow_schema(record)):
            raise UserError(
                f"the columns are {', '.join(file.schema_arrow.names)}",
                where=path,
                expected=f"those of {record.__name__}, as this version of personamem-pipeline writes them",
                remedy="materialize the shard again with this version",
            )
        yield file


def code_of(reason: str) -> str:
    """The code of a reason `code: explanation`."""
    return reason.partition(":")[0]


def text_digest(text: str) -> bytes:
    """16 bytes that stand for a text where only equality matters."""
    return hashlib.sha256(text.encode()).digest()[:16]
