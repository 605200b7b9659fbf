"""What exactly is asked: every question in every seeded option order, the same for every system and in every process.

A question whose preference the person asked to forget is asked twice of systems that keep up with a history: after all of
it, where the preference must not be used, and of what was known before the request, where using it was right. Only the
pair tells forgetting from never having known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from personamem_pipeline.evaluation.records import Moment
from personamem_pipeline.evaluation.source import Batch, Person
from personamem_pipeline.questions.options import lettered
from personamem_pipeline.records import History, Message, Question

LETTERED = 2**16
"""Questions in an order that are kept under their letters: every system is asked the same, and the key and the figures
read them again."""


@dataclass(frozen=True)
class Asked:
    """One question with its options in one order."""

    question: Question
    order: int
    options: Mapping[str, str]
    right: str
    """The letter that is right at this moment."""
    moment: Moment = "end"


def ask(question: Question, seed: int, order: int, moment: Moment = "end") -> Asked:
    """One question under letters."""
    options, right = _lettered(question, seed, order)
    if moment == "before_forget":
        used = forgotten_option(question)
        right = next(letter for letter, text in options.items() if text == used)
    return Asked(question, order, options, right, moment)


@lru_cache(maxsize=LETTERED)
def _lettered(question: Question, seed: int, order: int) -> tuple[Mapping[str, str], str]:
    options, right = lettered(question, seed, order)
    return MappingProxyType(options), right


def asked(batch: Batch) -> list[Asked]:
    """Every question of a batch in every option order, about the whole history."""
    return [ask(question, batch.seed, order) for question in batch.questions for order in range(batch.orders)]


def forgotten_option(question: Question) -> str | None:
    """The option that uses what the person asked to forget; None where there is none, or the data do not say which."""
    if question.pref_type != "ask_to_forget" or "forgotten" not in question.incorrect_kinds:
        return None
    return question.incorrect_answers[question.incorrect_kinds.index("forgotten")]


def before_request(history: History, question: Question) -> tuple[Message, ...] | None:
    """The history up to the request to forget; None where there is no such request after what it forgets, or no option
    that would be right before it."""
    if forgotten_option(question) is None:
        return None
    evidence = set(question.evidence)
    requests = [
        session
        for session in history.sessions
        if session.event == "forgets" and evidence & {message.turn_id for message in session.messages}
    ]
    if not requests:
        return None
    first = requests[0].messages[0].turn_id
    messages = history.messages
    place = next(index for index, message in enumerate(messages) if message.turn_id == first)
    before = messages[:place]
    return before if evidence & {message.turn_id for message in before} else None


def evidence_distances(person: Person) -> dict[str, int]:
    """Question id -> messages between its last evidence turn and the end of the history; -1 where none was located."""
    messages = person.history.messages
    places = {message.turn_id: index for index, message in enumerate(messages)}
    return {
        question.question_id: min(
            (len(messages) - 1 - places[turn] for turn in question.evidence if turn in places), default=-1
        )
        for question in person.questions
    }


def pairs(people: Iterable[Person]) -> Iterator[tuple[Question, tuple[Message, ...]]]:
    """The questions that can be asked before a request to forget, with what was said until then."""
    for person in people:
        for question in person.questions:
            before = before_request(person.history, question)
            if before is not None:
                yield question, before
