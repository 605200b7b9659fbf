"""Other people's memory products under test: a small adapter each, driven person by person.

An adapter says how a product takes in what a person said (`add`), and either what it remembers about a question (`search`;
our model then answers from that, in the place of its own memory) or what it answers itself (`answer`). It never sees a
right answer or an evidence label, and `add` sees no question.

Every person is a subject of their own, taken in session by session as the days went by, and removed afterwards, also when
something fails. A question about what was known before a request to forget goes to a second subject that was only told
what came before: asking the first one in the middle of its history would show it the question while it still writes. That
second reading is a means of measuring, not of use; its tokens are not charged to the product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.asked import Asked, ask, asked, pairs
from personamem_pipeline.evaluation.records import MemoryStep, Outputs, Reply
from personamem_pipeline.evaluation.source import Batch, Person
from personamem_pipeline.evaluation.systems.base import Ask, Listed, Named, Stopwatch
from personamem_pipeline.evaluation.systems.memory import Agent
from personamem_pipeline.memory.episode import without_repeats
from personamem_pipeline.records import Message, Question


@dataclass(frozen=True)
class Added:
    """What an adapter can tell of one call of `add`."""

    memories: tuple[str, ...] = ()
    """What the product wrote down."""
    input_tokens: int = 0
    output_tokens: int = 0


class Product(Protocol):
    """What every adapter has."""

    def add(self, subject: str, messages: Sequence[Message]) -> Added | None:
        """Take in one session of a person; the sessions come in time order. None: what it cost cannot be told."""
        ...

    def remove(self, subject: str) -> None:
        """Forget a person entirely. Also called first, when a killed run may have left something: not an error then."""
        ...


class Searched(Product, Protocol):
    """A product that finds memories."""

    def search(self, subject: str, query: str) -> Sequence[str]:
        """What is remembered of this person that bears on the query, in the order in which a model should read it."""
        ...


class Answering(Product, Protocol):
    """A product that answers by itself."""

    def answer(self, subject: str, query: str, options: Mapping[str, str] | None) -> str:
        r"""The reply, best with the letter as `\boxed{a}`. `options` are letter -> text; None: a reply to the user."""
        ...


@dataclass(frozen=True)
class SearchedProduct(Agent):
    """A product's memories, and the model that answers from them."""

    product: Searched

    def run(self, batch: Batch) -> Outputs:
        watch, writing, searching = Stopwatch(), 0.0, 0.0
        known: dict[str, str] = {}
        steps: list[MemoryStep] = []
        for person in batch.people:
            with remembered(self.product, person.person_id, sittings(person, person.history.messages)) as added:
                writing += watch.lap()
                steps += self._counted(person, added)
                for question in person.questions:
                    known[question.question_id] = self._found(person.person_id, question)
                searching += watch.lap()
        earlier = [
            Ask(text, question, ask(question, batch.seed, order, "before_forget"))
            for question, text in self._before(batch)
            for order in range(batch.orders)
        ]
        outputs = self.outputs(
            batch, lambda question: known[question.question_id], steps=steps, write_seconds=writing, before=earlier
        )
        return outputs.model_copy(update={"answer_seconds": outputs.answer_seconds + searching})

    def _before(self, batch: Batch) -> Iterator[tuple[Question, str]]:
        for subject, told, questions in _before(batch):
            with remembered(self.product, subject, told):
                for question in questions:
                    yield question, self._found(subject, question)

    def _counted(self, person: Person, added: Sequence[Added | None]) -> list[MemoryStep]:
        """All of a person's writing as one turn, where the product tells of every call; nothing is counted by half."""
        told = [own for own in added if own is not None]
        if not told or len(told) < len(added):
            return []
        memory = "\n".join(f"- {text}" for own in told for text in own.memories)
        return [
            MemoryStep(
                subject=person.person_id,
                index=0,
                turns=tuple(message.turn_id for message in person.history.messages),
                memory=memory,
                kept="" if memory else "empty",
                input_tokens=sum(own.input_tokens for own in told),
                output_tokens=sum(own.output_tokens for own in told),
                memory_tokens=self.generator.count(memory),
            )
        ]

    def _found(self, subject: str, question: Question) -> str:
        found = self.product.search(subject, question.user_query)
        if isinstance(found, str) or not all(isinstance(text, str) for text in found):
            raise UserError("`search` gave something else", where=self.name, expected="a list of texts")
        return without_repeats("\n".join(f"- {' '.join(text.split())}" for text in found if text.strip()))


@dataclass(frozen=True)
class AnsweringProduct(Listed):
    """A product that is asked the benchmark's questions itself. What its answers cost is not known here."""

    named: Named
    product: Answering

    def run(self, batch: Batch) -> Outputs:
        watch, writing, answering = Stopwatch(), 0.0, 0.0
        replies: list[Reply] = []
        items = asked(batch)
        for person in batch.people:
            own = [item for item in items if item.question.person_id == person.person_id]
            with remembered(self.product, person.person_id, sittings(person, person.history.messages)):
                writing += watch.lap()
                replies += [self._reply(person.person_id, item.question, item) for item in own]
                if self.named.open:
                    replies += [self._reply(person.person_id, question, None) for question in person.questions]
                answering += watch.lap()
        for subject, told, questions in _before(batch):
            with remembered(self.product, subject, told):
                replies += [
                    self._reply(subject, question, ask(question, batch.seed, order, "before_forget"))
                    for question in questions
                    for order in range(batch.orders)
                ]
        return Outputs(replies=tuple(replies), write_seconds=writing, answer_seconds=answering)

    def _reply(self, subject: str, question: Question, item: Asked | None) -> Reply:
        output = self.product.answer(subject, question.user_query, item.options if item else None)
        if not isinstance(output, str):
            raise UserError("`answer` gave something else", where=self.name, expected="a text")
        return Reply(
            question_id=question.question_id,
            order=item.order if item else None,
            moment=item.moment if item else "end",
            output=output,
        )


Sitting = tuple[Message, ...]


@contextmanager
def remembered(product: Product, subject: str, told: Sequence[Sitting]) -> Iterator[list[Added | None]]:
    """A subject that the product knows inside the block, and not before or after it; with what it says of each sitting."""
    product.remove(subject)
    try:
        yield [product.add(subject, sitting) for sitting in told]
    finally:
        product.remove(subject)


def sittings(person: Person, messages: Sequence[Message]) -> list[Sitting]:
    """Messages of a person's history, cut where its sessions are; a profile that opens it is a sitting of its own."""
    session = {message.turn_id: own.session_id for own in person.history.sessions for message in own.messages}
    return [tuple(own) for _, own in groupby(messages, key=lambda message: session.get(message.turn_id, ""))]


def _before(batch: Batch) -> Iterator[tuple[str, list[Sitting], list[Question]]]:
    """(subject, what it is told, what is asked of it) for everything that was later to be forgotten."""
    people = {person.person_id: person for person in batch.people}
    together: dict[tuple[str, int], tuple[tuple[Message, ...], list[Question]]] = {}
    for question, messages in pairs(batch.people):
        together.setdefault((question.person_id, len(messages)), (messages, []))[1].append(question)
    for (person_id, length), (messages, questions) in together.items():
        yield f"{person_id}-first-{length}", sittings(people[person_id], messages), questions
