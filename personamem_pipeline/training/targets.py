"""What a perfect memory agent would have written: SFT targets from the labelled evidence.

The ideal memory after a chunk holds one line per preference that the user's own turns have given away so far, the news of
the chunk first, then what still holds of the memory before it: an update replaces its line, a request to forget removes
it; other people's preferences, private values and small talk are never noted. An answer quotes the line that decides it,
then answers. Where the preset asks for reasoning, a short thought built from the same labels comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from personamem_pipeline.errors import UserError
from personamem_pipeline.memory.chunking import Chunk
from personamem_pipeline.memory.episode import Known
from personamem_pipeline.memory.prompts import EMPTY, boxed, parse_choice
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.records import History, Message, Question, Session
from personamem_pipeline.training.labels import reveal

QUOTED = 120
"""Characters of a turn that a thought quotes: enough to tell which turn it is."""
_NO_TAG = "\u2039"
"""What `<` becomes inside a thought, so that no quoted tag can end it."""


@dataclass(frozen=True)
class IdealTurn:
    """One write turn as a perfect reader does it."""

    before: str
    """The memory before the chunk; empty at the start."""
    after: str
    """The whole memory after it, `none` for an empty one: the reply."""
    thought: str
    """Which turns gave away what, what goes and why."""


@dataclass(frozen=True)
class WriteTask:
    """A write turn to learn: one chunk of a history."""

    history: History
    chunks: tuple[Chunk, ...]
    number: int
    turn: IdealTurn

    @property
    def chunk(self) -> Chunk:
        return self.chunks[self.number]

    @property
    def key(self) -> str:
        """Names the turn within a run."""
        return f"{self.history.person_id} write {self.number}"

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows of the training dataset that it is made of: the history."""
        return (self.history.person_id,)


@dataclass(frozen=True)
class AnswerTask:
    """An answer turn to learn: multiple choice with options and the right letter, open-ended without."""

    question: Question
    known: Known
    options: Mapping[str, str] | None
    letter: str | None
    order: int
    """Which order of the options it is; for open answers how often it has come."""

    @property
    def key(self) -> str:
        """Names the turn within a run; an open question is the same turn however often it comes."""
        return f"{self.question.question_id} {'open' if self.letter is None else f'choice {self.order}'}"

    @property
    def rows(self) -> tuple[str, ...]:
        """The question, and the history where its chat is read, not a memory of it."""
        asked = self.question
        return (asked.question_id,) if isinstance(self.known, str) else (asked.question_id, asked.person_id)


Task = WriteTask | AnswerTask


def memory_line(topic: str, preference: str) -> str:
    """The one form of a memory line in SFT targets."""
    return f"- {topic}: {preference}"


def ideal_turns(history: History, chunks: Sequence[Chunk]) -> list[IdealTurn]:
    """The ideal write turn of each chunk: `len(chunks)` of them."""
    turns: list[IdealTurn] = []
    before = ""
    held: dict[str, str] = {}
    for chunk, revealed in zip(chunks, reveal(history, chunks), strict=True):
        thoughts = [_thought(session, chunk, held) for session in revealed.sessions]
        after = "\n".join(memory_line(topic, text) for topic, text in revealed.kept.items()) or EMPTY
        turns.append(IdealTurn(before, after, " ".join(thoughts) or "Nothing here says what the user is like."))
        before, held = after, dict(revealed.kept)
    return turns


def ideal_memories(history: History, chunks: Sequence[Chunk]) -> list[str]:
    """The ideal memory after each chunk: `len(chunks)` texts."""
    return [turn.after for turn in ideal_turns(history, chunks)]


def _thought(session: Session, chunk: Chunk, held: dict[str, str]) -> str:
    """What a reader thinks of a session; `held` is what they hold to be true, by topic, and follows the session."""
    preference = session.preference
    assert preference is not None, "only sessions about something are read"
    if preference.pref_type == "sensitive_info":
        return "A private value is given, which no memory keeps."
    said = _quote(session, chunk)
    if preference.who == "others":
        return f"{said} is about somebody else, so it is not noted."
    old = held.pop(preference.topic, None)
    if session.event == "forgets":
        return f"{said} asks to forget {preference.text}, so " + ("its line goes." if old else "it is not noted.")
    held[preference.topic] = preference.text
    replaced = f", which replaces {old}" if old not in (None, preference.text) else ""
    return f"{said} shows {preference.topic}: {preference.text}{replaced}."


def _quote(session: Session, chunk: Chunk) -> str:
    """The last turn of the chunk that gives a session away. Earlier ones may lie in a chunk that is gone."""
    return f'"{shortened(_deciding(chunk, session.evidence).content)}"'


def _deciding(messages: Sequence[Message], evidence: Sequence[str]) -> Message:
    found = [message for message in messages if message.turn_id in evidence]
    if not found:
        raise UserError(
            f"none of the turns {', '.join(evidence) or '(none)'} is in the history that they are evidence of",
            expected="histories and questions of the same dataset, every label with its turns",
            remedy="materialize training_dataset again",
        )
    return next((message for message in reversed(found) if message.role == "user"), found[-1])


def shortened(text: str) -> str:
    """A text's beginning on one line, of `QUOTED` characters at most, cut between words where it has any."""
    line = " ".join(text.split())
    if len(line) <= QUOTED:
        return line
    head = line[:QUOTED]
    return f"{head.rpartition(' ')[0] or head} ..."


def with_thought(thought: str, text: str) -> str:
    """A reply that thinks first; `prompts.without_thinking` gives `text` back, whatever the thought quotes."""
    return f"<think>{thought.replace('<', _NO_TAG)}</think>\n{text}"


def ideal_write(turn: IdealTurn, config: MemoryConfig) -> str:
    """The target of a write turn."""
    return with_thought(turn.thought, turn.after) if config.reasoning else turn.after


def deciding_line(question: Question, known: Known) -> str:
    """The line that decides a question, of an ideal memory or of the chat; `none` where the right answer assumes nothing."""
    if question.who == "others" or question.pref_type in ("ask_to_forget", "sensitive_info"):
        return EMPTY
    if isinstance(known, str):
        return memory_line(question.topic, question.preference)
    message = _deciding(known, question.evidence)
    return f"{message.role}: {shortened(message.content)}"


def decidable(question: Question, known: Known) -> bool:
    """Whether what is known holds what decides the question: a dataset may lack a question's evidence, and an answer
    from it would teach to make things up."""
    if isinstance(known, str):
        return deciding_line(question, known) in (EMPTY, *known.splitlines())
    turns = {message.turn_id for message in known}
    return bool(question.evidence) and set(question.evidence) <= turns


def choice_reply(config: MemoryConfig, line: str, options: Mapping[str, str], letter: str) -> str:
    """A multiple-choice reply: the deciding line and the boxed letter.

    In the `compact` style a line that says one option's words is the choice (`parse_choice`): pointing at a letter by
    content is more than the tiny model can do.
    """
    if config.prompts == "compact" and parse_choice(line, options) == letter:
        return line
    return f"{line} {boxed(letter)}"


def ideal_answer(
    config: MemoryConfig, question: Question, known: Known, options: Mapping[str, str] | None, letter: str | None
) -> str:
    """The target of an answer turn: multiple choice with options and the right letter, open-ended without."""
    line = deciding_line(question, known)
    if options is None or letter is None:
        reply = f"{line}\n{question.correct_answer}"
    else:
        reply = choice_reply(config, line, options, letter)
    if not config.reasoning:
        return reply
    if line == EMPTY:
        thought = "Nothing that is known may decide this, so the reply assumes nothing about the user."
    elif isinstance(known, str):
        thought = f'This is about {question.topic}, and the memory says "{line}": that decides it.'
    else:
        thought = f'This is about {question.topic}, and "{line}" shows {question.preference}: that decides it.'
    return with_thought(thought, reply)
