"""The memory agent and the controls that read through it: own memory, another person's, and only the evidence.

- `MemorySystem`: reads the chat chunk by chunk, keeps a memory, answers all questions from it. Under `full_context` the
  same class answers from the whole chat.
- `SwappedHistory`: answers from what another person's reading left. Any memory makes a prompt longer and may nudge the
  answers; only the *right* one should help, so this is the floor against which memory counts.
- `Oracle`: the same protocol over the evidence turns alone. It bounds what finding the evidence in the chat, and keeping
  it, can still gain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.asked import ask, asked, pairs
from personamem_pipeline.evaluation.records import MemoryStep, Outputs
from personamem_pipeline.evaluation.source import Batch, Person
from personamem_pipeline.evaluation.systems.base import Ask, Listed, Named, Stopwatch, answer, batch_seed, write
from personamem_pipeline.evaluation.systems.timed import Timed
from personamem_pipeline.memory.episode import Known
from personamem_pipeline.memory.generators.base import Generator
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.records import Message, Question

Memories = Callable[[Batch], Sequence[MemoryStep]]
"""The write turns that another system left of a batch."""


@dataclass(frozen=True)
class Agent(Listed):
    """What all readings of one model share."""

    named: Named
    generator: Generator
    config: MemoryConfig

    def outputs(
        self,
        batch: Batch,
        known_for: Callable[[Question], Known],
        *,
        steps: Sequence[MemoryStep] = (),
        write_seconds: float = 0.0,
        before: Sequence[Ask] = (),
    ) -> Outputs:
        """Ask the batch's questions of what is known for each; `before` is asked besides."""
        asks = [Ask(known_for(item.question), item.question, item) for item in asked(batch)] + list(before)
        if self.named.open:
            asks += [Ask(known_for(question), question, None) for question in batch.questions]
        writing, watch = self._waits(), Stopwatch()
        replies = answer(asks, self.generator, self.config, batch_seed(batch))
        return Outputs(
            replies=replies, steps=tuple(steps), write_seconds=write_seconds, answer_seconds=watch.lap(),
            write_waits=writing, answer_waits=self._waits(),
        )  # fmt: skip

    def _waits(self) -> tuple[float, ...]:
        """How long each reply since the last look was waited for, where the generator notes it."""
        return self.generator.taken() if isinstance(self.generator, Timed) else ()


class MemorySystem(Agent):
    """A model under the full protocol."""

    def run(self, batch: Batch) -> Outputs:
        watch = Stopwatch()
        histories = {person.person_id: person.history.messages for person in batch.people}
        steps = write(histories, self.generator, self.config, batch_seed(batch))
        seconds = watch.lap()
        own = known(histories, steps, self.config)
        earlier = [
            Ask(then, question, ask(question, batch.seed, order, "before_forget"))
            for question, messages in pairs(batch.people)
            for then in [known_before(steps, question, messages, self.config)]
            if then is not None
            for order in range(batch.orders)
        ]
        return self.outputs(
            batch, lambda question: own[question.person_id], steps=steps, write_seconds=seconds, before=earlier
        )


@dataclass(frozen=True)
class SwappedHistory(Agent):
    """The same model, knowing the next person of the batch. `memories` are those of the model's own system."""

    memories: Memories

    def run(self, batch: Batch) -> Outputs:
        people = batch.people
        if len(people) < 2:
            raise UserError(
                "swapping histories needs two persons",
                where=f"system {self.name}",
                expected="a benchmark of at least two persons",
                remedy="take swapped_history out of evaluation.systems",
            )
        histories = {person.person_id: person.history.messages for person in people}
        others = known(histories, self.memories(batch), self.config)
        following = {
            one.person_id: other.person_id for one, other in zip(people, [*people[1:], people[0]], strict=True)
        }
        return self.outputs(batch, lambda question: others[following[question.person_id]])


class Oracle(Agent):
    """The same model and protocol, reading only the evidence turns of each question."""

    def run(self, batch: Batch) -> Outputs:
        # Questions that rest on the same turns of the same person share one reading.
        histories = {
            _subject(question): evidence_turns(person, question)
            for person in batch.people
            for question in person.questions
        }
        watch = Stopwatch()
        steps = write(histories, self.generator, self.config, batch_seed(batch))
        seconds = watch.lap()
        read = known(histories, steps, self.config)
        return self.outputs(batch, lambda question: read[_subject(question)], steps=steps, write_seconds=seconds)


def known(
    histories: Mapping[str, Sequence[Message]], steps: Sequence[MemoryStep], config: MemoryConfig
) -> dict[str, Known]:
    """Subject -> what its questions are answered from: the memory written of it, or under `full_context` the chat."""
    if config.protocol == "full_context":
        return {subject: tuple(messages) for subject, messages in histories.items()}
    memories = last_memories(steps)
    return {subject: memories.get(subject, "") for subject in histories}


def known_before(
    steps: Sequence[MemoryStep], question: Question, messages: Sequence[Message], config: MemoryConfig
) -> Known | None:
    """What was known of a question's person once `messages`, the beginning of the history, were read.

    None where no memory stands at such a moment: the chunk that holds the next message also holds evidence.
    """
    if config.protocol == "full_context":
        return tuple(messages)
    said = {message.turn_id for message in messages}
    whole = [step for step in steps if step.subject == question.person_id and said.issuperset(step.turns)]
    read = {turn for step in whole for turn in step.turns}
    if not whole or not said.intersection(question.evidence) <= read:
        return None
    return max(whole, key=lambda step: step.index).memory


def last_memories(steps: Sequence[MemoryStep]) -> dict[str, str]:
    """Subject -> the memory after its last turn."""
    ordered = sorted(steps, key=lambda step: (step.subject, step.index))
    return {step.subject: step.memory for step in ordered}


def evidence_turns(person: Person, question: Question) -> tuple[Message, ...]:
    """The messages that a question's `evidence` names, in time order; none where the released files locate none.

    Raises:
        UserError: one of them is not in the history.
    """
    wanted = set(question.evidence)
    found = tuple(message for message in person.history.messages if message.turn_id in wanted)
    if len(found) != len(wanted):
        missing = sorted(wanted - {message.turn_id for message in found})
        raise UserError(
            f"evidence turns are not in the history: {', '.join(missing)}",
            where=f"question {question.question_id} of person {question.person_id}",
            expected="every question's evidence inside its person's history",
            remedy="materialize questions and benchmark again",
        )
    return found


def _subject(question: Question) -> str:
    return " ".join((question.person_id, *question.evidence))
