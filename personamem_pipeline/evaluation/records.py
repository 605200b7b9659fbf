"""What an evaluation writes down: one row per memory turn, per answer, per judged open answer and per system.

`Answer` carries the question's labels beside the outcome, so that `answers.parquet` can be re-cut and re-scored without
the benchmark at hand. Every row names its system; rows of different systems pair by (question_id, order).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from personamem_pipeline.records import ConversationType, History, Question, QuestionType, Record, Who, Wording

Role = Literal["model", "control", "guesser"]
"""`model`: a checkpoint under the full protocol; `control`: the same checkpoint with something taken away or given;
`guesser`: looks at nothing but the options."""


@dataclass(frozen=True)
class Benchmark:
    """The questions to ask, the histories to read, and how the options are ordered; the same for every system."""

    histories: Mapping[str, History]
    """person_id -> history."""
    questions: Sequence[Question]
    orders: int
    """Seeded option orders per question."""
    seed: int


class MemoryStep(Record):
    """One write turn: the memory after the turn, and what it cost. `subject` is whose memory it is: a person_id, or
    for the oracle, which reads other evidence for each question, a question_id."""

    subject: str
    index: int
    messages: tuple[str, ...]
    """The chunk as `role: content` lines."""
    memory: str
    kept: str
    """Empty, or why the memory before the turn was kept (`empty`, `unfinished`)."""
    input_tokens: int
    output_tokens: int


class Labels(Record):
    """Which question a row is about, and the labels by which reports slice."""

    question_id: str
    person_id: str
    pref_type: QuestionType
    who: Who
    updated: bool
    wording: Wording
    conversation_scenario: ConversationType
    topic: str
    system: str


class Answer(Labels):
    """One multiple-choice answer. Strict: what cannot be parsed has `picked` None and is wrong."""

    order: int
    right: str
    """The letter of the right option in this order."""
    picked: str | None
    correct: bool
    output: str
    input_tokens: int
    """Of the answering turn alone; the ledger adds what the memory cost."""
    output_tokens: int


class OpenAnswer(Labels):
    """One open-ended answer. `score` None means the judge gave no verdict: missing, never 0."""

    answer: str
    score: float | None
    judge: str
    reason: str
    input_tokens: int
    output_tokens: int


class SystemSummary(Record):
    """The headline figures of one system. `low`, `high` and `se` are None with fewer than two persons."""

    name: str
    label: str
    role: Role
    accuracy: float
    low: float | None
    high: float | None
    se: float | None
    """Cluster-robust standard error of `accuracy`."""
    n: int
    questions: int
    persons: int
    unparseable: int
    right_in_every_order: float
    """Share of questions answered rightly in all option orders; guessing gives 0.25 to the power of the orders."""
    letters_picked: dict[str, float]
    """Letter -> share of the parsed answers; the right letters are uniform in expectation."""
    letters_accuracy: dict[str, float]
    """Letter -> accuracy where that letter is the right one."""


def labels(question: Question, system: str) -> dict[str, object]:
    """The fields of `Labels` for one question and system."""
    names = [name for name in Labels.model_fields if name != "system"]
    return {**{name: getattr(question, name) for name in names}, "system": system}
