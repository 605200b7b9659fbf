"""What an evaluation writes down: raw replies as they came, and the rows that scoring makes of them.

`Reply` and `MemoryStep` are what generation leaves (the journal keeps them); everything else is computed from them, so a
new parser, judge or slice repeats no generation. `Answer` and `OpenAnswer` carry the question's labels, so that
`answers.parquet` can be re-cut without the benchmark at hand. Rows of different systems pair by (question_id, order).
"""

from __future__ import annotations

from typing import Literal

from personamem_pipeline.records import ConversationType, QuestionType, Record, Who, Wording

Role = Literal["model", "control", "baseline", "guesser", "external"]
"""`model`: a checkpoint under the full protocol; `control`: the same model with something taken away or given;
`baseline`: another way of using the history; `guesser`: looks at nothing but the options; `external`: somebody else's."""
Moment = Literal["end", "before_forget"]
"""When a question is asked: after the whole history, or (the first half of a forget pair) before the request to forget."""
Problem = Literal["", "over_long", "refused"]
"""Why nothing was generated: the prompt is over the model's context, or the endpoint gave no answer."""


class MemoryStep(Record):
    """One write turn: the memory after the turn, and what it cost.

    `subject` is whose memory it is: a person_id; where each question has a reading of its own (the oracle, query-aware
    writing), the ids that tell the readings apart.
    """

    subject: str
    index: int
    turns: tuple[str, ...]
    """Turn ids of the chunk's messages."""
    memory: str
    kept: str
    """Empty, or why the memory before the turn was kept (`empty`, `unfinished`)."""
    input_tokens: int
    output_tokens: int
    memory_tokens: int
    """Length of the memory after the turn."""


class Reply(Record):
    """What a system said to one question, unread. `order` None: asked without options."""

    question_id: str
    order: int | None
    moment: Moment = "end"
    output: str
    finished: bool = True
    """False: the reply ran into its cap."""
    problem: Problem = ""
    input_tokens: int = 0
    """Of the answering turn alone; the ledger adds what the memory cost."""
    output_tokens: int = 0


class Outputs(Record):
    """All that one system made of one batch of people: one line of the journal."""

    replies: tuple[Reply, ...]
    steps: tuple[MemoryStep, ...] = ()
    """Empty where no memory was written, or where another system's memories were used."""
    write_seconds: float = 0.0
    answer_seconds: float = 0.0
    write_waits: tuple[float, ...] = ()
    """Seconds that each writing reply was waited for, in the order of the calls (`timings`)."""
    answer_waits: tuple[float, ...] = ()


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
    distance: int
    """Messages between the last evidence turn and the end of the history; -1 where no evidence was located."""
    system: str


class Answer(Labels):
    """One multiple-choice answer. Strict: what cannot be parsed has `picked` None and is wrong, and so is no reply."""

    order: int
    moment: Moment
    right: str
    """The letter of the right option in this order (before_forget: of the option that uses what is forgotten later)."""
    picked: str | None
    picked_leniently: str | None
    """By the lenient parser, which also takes what the strict one cannot read; reported beside, never the headline."""
    correct: bool
    correct_leniently: bool
    leaks: bool
    """The picked option repeats private data, or uses what the user asked to forget."""
    output: str
    finished: bool
    problem: Problem
    input_tokens: int
    output_tokens: int


class Judgement(Record):
    """One judge's verdict on one open answer. `score` None means there is none: missing, never 0."""

    judge: str
    """`model/prompt`, e.g. `simulator/1/serves`."""
    score: float | None
    reason: str


class OpenAnswer(Labels):
    """One open-ended answer with the verdicts of the panel, in the panel's order."""

    answer: str
    """As the user would read it: without the line quoted first and without thoughts."""
    judgements: tuple[Judgement, ...]
    score: float | None
    """Mean over the panel; None unless every judge gave a verdict."""
    finished: bool
    problem: Problem
    input_tokens: int
    output_tokens: int
