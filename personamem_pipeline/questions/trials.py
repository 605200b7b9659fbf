"""The trials of a question: what its readers are shown, and asked.

A trial is some turns, the query and the options in one order (task `choice`), or a single text (task `state`). Which
turns make which trial is decided here; what the answers amount to is `certify`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Literal

from pydantic import BaseModel

from personamem_pipeline.llm.client import Prompt
from personamem_pipeline.presets import QuestionsConfig
from personamem_pipeline.questions.options import lettered
from personamem_pipeline.records import Event, History, Message, Question
from personamem_pipeline.seeds import digest, rng

CHOOSE = """You pick answers for a chatbot. The brief holds earlier turns of a chat with a user (possibly none),
the user's new request (`query`) and four options. Pick the option that serves this user best, given only what the turns
show: use what the user's own words reveal about them, prefer their latest state, do not treat other people's tastes as
theirs, never use what they asked to forget, and never repeat private data. If the turns show nothing, pick the option
you find most likely. Reply with a JSON object: answer, the letter."""

STATE = """You read one text that a user wrote to a chatbot. The brief holds it as `text`. Does it say outright what the
user, or somebody else in it, likes, prefers, is used to, suffers from or went through? Reply with a JSON object:
preference, what it says in as few of its own words as possible. Do not infer anything: where the text only mentions
things from which one could guess, or only asks for something, preference is the empty text."""


OUTRIGHT = "Just so you know, I like {preference}."


class ChoiceReply(BaseModel):
    """What the endpoint answers to the task `choice`."""

    answer: Literal["a", "b", "c", "d"]


class StateReply(BaseModel):
    """What the endpoint answers to the task `state`."""

    preference: str


@dataclass(frozen=True)
class Choice:
    """A choice that is put to a reader, and the letter that is right."""

    prompt: Prompt[ChoiceReply]
    right: str


@dataclass(frozen=True)
class Hint:
    """A turn that should only hint, and what it must therefore not say."""

    text: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Trials:
    """Everything one question is put to. An empty tuple: there is nothing to try it with."""

    blind: tuple[Choice, ...]
    oracle: tuple[Choice, ...]
    update: tuple[Choice, ...]
    swapped: tuple[Choice, ...]
    query: Prompt[StateReply]
    hints: tuple[Prompt[StateReply], ...]


@dataclass(frozen=True)
class Evidence:
    """A question's evidence turns, by what happens in their sessions."""

    turns: tuple[Message, ...]
    event_of: Mapping[str, Event] = field(repr=False)
    label_of: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, question: Question, history: History) -> Evidence:
        """Looked up in the person's history, in time order."""
        wanted = set(question.evidence)
        turns: list[Message] = []
        event_of: dict[str, Event] = {}
        label_of: dict[str, str] = {}
        for session in history.sessions:
            for message in session.messages if wanted.intersection(session.evidence) else ():
                if message.turn_id in wanted:
                    turns.append(message)
                    event_of[message.turn_id] = session.event
                    label_of[message.turn_id] = session.preference.text if session.preference else ""
        return cls(tuple(turns), event_of, label_of)

    def only(self, *events: Event) -> tuple[Message, ...]:
        """The turns of sessions in which one of these happens."""
        return tuple(turn for turn in self.turns if self.event_of[turn.turn_id] in events)


def hints(question: Question, evidence: Evidence) -> tuple[Hint, ...]:
    """The turns that should only hint. A private value, and a request to forget, are said openly by nature."""
    if question.pref_type == "sensitive_info":
        return ()
    return tuple(
        Hint(
            turn.content,
            tuple(sorted({question.preference, question.prev_pref, evidence.label_of[turn.turn_id]} - {""})),
        )
        for turn in evidence.only("reveals", "updates")
    )


def donors(questions: Sequence[Question], seed: int) -> dict[str, Question | None]:
    """Question id -> a question of another person whose evidence is swapped in; None when there is no other person.

    It is the first, from a drawn one on, that is of the same type and ownership and about another preference; where
    nobody has such a one, the first of any type.
    """
    alike: dict[tuple[str, str], list[Question]] = {}
    for question in questions:
        alike.setdefault((question.pref_type, question.who), []).append(question)
    found: dict[str, Question | None] = {}
    for question in questions:
        own = alike[question.pref_type, question.who]
        found[question.question_id] = _donor(question, own, seed) or _donor(question, questions, seed)
    return found


def _donor(question: Question, among: Sequence[Question], seed: int) -> Question | None:
    start = rng(seed, "swapped evidence", question.question_id).randrange(len(among))
    for other in chain(islice(among, start, None), islice(among, start)):
        if other.person_id != question.person_id and other.preference != question.preference:
            return other
    return None


def trials(
    question: Question, evidence: Evidence, swapped: Sequence[Message], config: QuestionsConfig, seed: int
) -> Trials:
    """The trials of one question. For what was forgotten, the swapped evidence is its own without the request."""
    forgotten = question.pref_type == "ask_to_forget"
    updating = evidence.only("updates") if question.updated and not forgotten else ()
    instead = evidence.only("reveals", "updates") if forgotten else tuple(swapped)
    return Trials(
        blind=_choices(question, (), config.blind_orders, seed),
        oracle=_choices(question, evidence.turns, config.oracle_orders, seed),
        update=_choices(question, updating, config.oracle_orders, seed) if updating else (),
        swapped=_choices(question, instead, config.swapped_orders, seed) if instead else (),
        query=_stated(question.user_query, seed),
        hints=tuple(_stated(hint.text, seed) for hint in hints(question, evidence)),
    )


def control(questions: Sequence[Question], seed: int) -> tuple[Prompt[StateReply], str] | None:
    """A text that says a preference outright, and which: a reader who does not notice it cannot vouch for the others.
    None where no question is about a taste."""
    tastes = sorted({question.preference for question in questions if question.pref_type != "sensitive_info"})
    return (_stated(OUTRIGHT.format(preference=tastes[0]), seed), tastes[0]) if tastes else None


def _choices(question: Question, turns: Sequence[Message], orders: int, seed: int) -> tuple[Choice, ...]:
    choices = []
    for order in range(orders):
        options, right = lettered(question, seed, order)
        brief: dict[str, Any] = {
            "turns": [{"role": message.role, "content": message.content} for message in turns],
            "query": question.user_query,
            "options": options,
        }
        choices.append(Choice(Prompt("choice", CHOOSE, brief, ChoiceReply, _key(brief), seed), right))
    return tuple(choices)


def _stated(text: str, seed: int) -> Prompt[StateReply]:
    brief = {"text": text}
    return Prompt("state", STATE, brief, StateReply, _key(brief), seed)


def _key(brief: Mapping[str, Any]) -> str:
    # The brief itself: the same request has the same answer whichever question or shard it was for, and is made once.
    return digest(dict(brief))[:16]
