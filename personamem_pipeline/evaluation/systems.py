"""Systems under test and their controls, all behind one interface: a benchmark in, answers and write turns out.

Every system is asked the same questions with the same seeded option orders, so any two pair row by row.

- `MemorySystem`: the system itself. It writes each person's memory once, then answers all questions from it. Writing
  comes before, and apart from, the questions: `write_memories` has no parameter that could carry one.
- `NoHistory`: the same model with an empty memory, or under `full_context` an empty chat. What it scores is what options
  and query give away by themselves.
- `SwappedHistory`: the same model with the memory of the next person. Any memory makes a prompt longer and may nudge
  the answers; only the *right* memory should help, so this is the floor against which memory counts.
- `Oracle`: the same model and protocol, but the history is only the evidence turns of the question at hand. It bounds
  what finding the evidence in the chat, and keeping it, can still gain.
- guessers: no model at all (chance, the longest option, the shortest).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.records import Answer, Benchmark, MemoryStep, Role, labels
from personamem_pipeline.memory import episode
from personamem_pipeline.memory.chunking import render_messages
from personamem_pipeline.memory.episode import Known
from personamem_pipeline.memory.generators.base import Generator
from personamem_pipeline.memory.prompts import parse_choice
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.questions.options import lettered
from personamem_pipeline.records import Message, Question
from personamem_pipeline.seeds import rng


@dataclass(frozen=True)
class Run:
    """What one system produced. `steps` is empty where no memory was written for it."""

    answers: tuple[Answer, ...]
    steps: tuple[MemoryStep, ...] = ()


class System(Protocol):
    """Anything that can be asked a benchmark's questions."""

    name: str
    label: str
    role: Role

    def run(self, benchmark: Benchmark) -> Run:
        """Answer every question in every option order."""
        ...


@dataclass(frozen=True)
class Asked:
    """One question with its options in one order."""

    question: Question
    order: int
    options: Mapping[str, str]
    right: str


def asked(benchmark: Benchmark) -> list[Asked]:
    """Every question in every option order; the same list in every process and for every system."""
    return [
        Asked(question, order, *lettered(question, benchmark.seed, order))
        for question in benchmark.questions
        for order in range(benchmark.orders)
    ]


def write(
    histories: Mapping[str, Sequence[Message]], generator: Generator, config: MemoryConfig
) -> tuple[MemoryStep, ...]:
    """Write one memory per subject, all in lock step. There is no question in sight."""
    turns = episode.write_memories(list(histories.values()), generator, config)
    return tuple(
        MemoryStep(
            subject=subject,
            index=turn.index,
            messages=tuple(render_messages([message]) for message in turn.chunk),
            memory=turn.memory,
            kept=turn.kept,
            input_tokens=len(turn.generation.prompt_ids),
            output_tokens=len(turn.generation.token_ids),
        )
        for subject, own in zip(histories, turns, strict=True)
        for turn in own
    )


def last_memories(steps: Sequence[MemoryStep]) -> dict[str, str]:
    """Subject -> the memory after its last turn."""
    ordered = sorted(steps, key=lambda step: (step.subject, step.index))
    return {step.subject: step.memory for step in ordered}


def known(
    histories: Mapping[str, Sequence[Message]], steps: Sequence[MemoryStep], config: MemoryConfig
) -> dict[str, Known]:
    """Subject -> what its questions are answered from: the memory written of it, or under `full_context` the chat."""
    if config.protocol == "full_context":
        return {subject: tuple(messages) for subject, messages in histories.items()}
    memories = last_memories(steps)
    return {subject: memories.get(subject, "") for subject in histories}


def choose(
    benchmark: Benchmark, name: str, known_for: Callable[[Question], Known], generator: Generator, config: MemoryConfig
) -> tuple[Answer, ...]:
    """Answer all questions as multiple choice from what is known for each, in one batched call."""
    items = asked(benchmark)
    replies = episode.answer(
        [known_for(item.question) for item in items],
        [item.question.user_query for item in items],
        [item.options for item in items],
        generator,
        config,
    )
    return tuple(
        _answer(
            item,
            name,
            parse_choice(reply.text, item.options),
            reply.text,
            tokens=(len(reply.prompt_ids), len(reply.token_ids)),
        )
        for item, reply in zip(items, replies, strict=True)
    )


def _answer(item: Asked, name: str, picked: str | None, output: str, tokens: tuple[int, int] = (0, 0)) -> Answer:
    return Answer.model_validate(
        {
            **labels(item.question, name),
            "order": item.order,
            "right": item.right,
            "picked": picked,
            "correct": picked == item.right,
            "output": output,
            "input_tokens": tokens[0],
            "output_tokens": tokens[1],
        }
    )


@dataclass
class MemorySystem:
    """A checkpoint under the full protocol: read the chat chunk by chunk, keep a memory, answer from it alone."""

    name: str
    label: str
    generator: Generator
    config: MemoryConfig
    role: Role = field(default="model", init=False)

    def run(self, benchmark: Benchmark) -> Run:
        histories = {person: history.messages for person, history in benchmark.histories.items()}
        steps = write(histories, self.generator, self.config)
        own = known(histories, steps, self.config)
        answers = choose(benchmark, self.name, lambda question: own[question.person_id], self.generator, self.config)
        return Run(answers, steps)


@dataclass
class NoHistory:
    """The same model, asked with its own prompt, knowing nothing."""

    generator: Generator
    config: MemoryConfig
    name: str = "no_history"
    label: str = "no history"
    role: Role = field(default="control", init=False)

    def run(self, benchmark: Benchmark) -> Run:
        nothing: Known = () if self.config.protocol == "full_context" else ""
        return Run(choose(benchmark, self.name, lambda _: nothing, self.generator, self.config))


@dataclass
class SwappedHistory:
    """The same model with what it knows of the next person. `known` is what the full protocol left, person by person."""

    generator: Generator
    config: MemoryConfig
    known: Mapping[str, Known]
    name: str = "swapped_history"
    label: str = "another person's memory"
    role: Role = field(default="control", init=False)

    def run(self, benchmark: Benchmark) -> Run:
        persons = sorted(benchmark.histories)
        if len(persons) < 2:
            raise UserError("swapping memories needs two persons", expected="a benchmark of at least two persons")
        following = dict(zip(persons, [*persons[1:], persons[0]], strict=True))
        return Run(
            choose(
                benchmark,
                self.name,
                lambda question: self.known[following[question.person_id]],
                self.generator,
                self.config,
            )
        )


@dataclass
class Oracle:
    """The same model and protocol, reading only the evidence turns of each question."""

    generator: Generator
    config: MemoryConfig
    name: str = "oracle"
    label: str = "oracle: only the evidence turns"
    role: Role = field(default="control", init=False)

    def run(self, benchmark: Benchmark) -> Run:
        # Questions that rest on the same turns of the same person share one memory.
        readings = {key: question for question in benchmark.questions for key in [self._subject(question)]}
        histories = {key: evidence_turns(benchmark, question) for key, question in readings.items()}
        steps = write(histories, self.generator, self.config)
        read = known(histories, steps, self.config)
        answers = choose(benchmark, self.name, lambda q: read[self._subject(q)], self.generator, self.config)
        return Run(answers, steps)

    @staticmethod
    def _subject(question: Question) -> str:
        return " ".join((question.person_id, *question.evidence))


def evidence_turns(benchmark: Benchmark, question: Question) -> tuple[Message, ...]:
    """The messages that a question's `evidence` names, in time order; refuses if one is not in the history."""
    wanted = set(question.evidence)
    found = tuple(m for m in benchmark.histories[question.person_id].messages if m.turn_id in wanted)
    if len(found) != len(wanted) or not found:
        missing = sorted(wanted - {message.turn_id for message in found})
        raise UserError(
            f"evidence turns are not in the history: {', '.join(missing) or '(none named)'}",
            where=f"question {question.question_id} of person {question.person_id}",
            expected="every question's evidence inside its person's history",
            remedy="materialize questions and benchmark again",
        )
    return found


@dataclass
class Guesser:
    """Looks at the options and nothing else."""

    name: str
    label: str
    pick: Callable[[Asked, int], str]
    role: Role = field(default="guesser", init=False)

    def run(self, benchmark: Benchmark) -> Run:
        return Run(tuple(_answer(item, self.name, self.pick(item, benchmark.seed), "") for item in asked(benchmark)))


def guessers() -> list[Guesser]:
    """Chance, the longest option and the shortest; equally long ones are drawn from by the seed."""
    return [
        Guesser("random", "chance (seeded draw)", lambda item, seed: _draw(item, seed, sorted(item.options))),
        Guesser("longest", "longest option", lambda item, seed: _extreme(item, seed, max)),
        Guesser("shortest", "shortest option", lambda item, seed: _extreme(item, seed, min)),
    ]


def _extreme(item: Asked, seed: int, which: Callable[[list[int]], int]) -> str:
    wanted = which([len(text) for text in item.options.values()])
    return _draw(item, seed, sorted(letter for letter, text in item.options.items() if len(text) == wanted))


def _draw(item: Asked, seed: int, letters: Sequence[str]) -> str:
    return rng(seed, "guess", item.question.question_id, item.order).choice(letters)
