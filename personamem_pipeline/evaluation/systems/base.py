"""The one interface of everything under test, and what most of them share: write, answer, know when a prompt is too long.

A system takes a batch of people and returns raw replies and write turns. It is asked for nothing else: journal, progress,
budgets, parsing and scoring are outside of it. Writing takes histories and has no parameter that could carry a question.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.asked import Asked
from personamem_pipeline.evaluation.records import MemoryStep, Outputs, Problem, Reply, Role
from personamem_pipeline.evaluation.source import Batch
from personamem_pipeline.memory import episode
from personamem_pipeline.memory.episode import Known, question_prompt
from personamem_pipeline.memory.generators.base import Generation, Generator
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.records import Message, Question
from personamem_pipeline.seeds import stable_int

AT_ONCE = 16_000_000
"""Characters of prompts that are held at a time: a hundred people with 128k tokens and 25 questions each would be 1 GB."""


class System(Protocol):
    """Anything that can be asked a benchmark's questions."""

    @property
    def name(self) -> str:
        """Its key in results."""
        ...

    @property
    def label(self) -> str:
        """As reports call it."""
        ...

    @property
    def role(self) -> Role: ...

    def run(self, batch: Batch) -> Outputs:
        """Read the batch's histories and answer all of its questions in every option order."""
        ...


@dataclass(frozen=True)
class Named:
    """What a system is called, and whether it is also asked without options."""

    name: str
    label: str
    role: Role
    open: bool = False


class Listed:
    """Base of systems that are told what they are called."""

    named: Named

    @property
    def name(self) -> str:
        return self.named.name

    @property
    def label(self) -> str:
        return self.named.label

    @property
    def role(self) -> Role:
        return self.named.role


@dataclass(frozen=True)
class Ask:
    """One question put to a model: what it may rest on, and with which options (None: without)."""

    known: Known
    question: Question
    item: Asked | None


def write(
    histories: Mapping[str, Sequence[Message]], generator: Generator, config: MemoryConfig, seed: int
) -> tuple[MemoryStep, ...]:
    """Write one memory per subject, all in lock step. There is no question in sight.

    Raises:
        UserError: a writing prompt and its reply are over the model's context, so that what was read is not known.
    """
    turns = episode.write_memories(list(histories.values()), generator, config, seed=seed)
    refuse_too_long([turn.generation.input_tokens for own in turns for turn in own], generator, config)
    return tuple(
        MemoryStep(
            subject=subject,
            index=turn.index,
            turns=tuple(message.turn_id for message in turn.chunk),
            memory=turn.memory,
            kept=turn.kept,
            input_tokens=turn.generation.input_tokens,
            output_tokens=turn.generation.output_tokens,
            memory_tokens=generator.count(turn.memory),
        )
        for subject, own in zip(histories, turns, strict=True)
        for turn in own
    )


def refuse_too_long(prompts: Sequence[int], generator: Generator, config: MemoryConfig) -> None:
    """Raises `UserError` where one of these writing prompts, given by their tokens, left no room for its reply."""
    longest = max(prompts, default=0) + config.memory_tokens
    if generator.context is not None and longest > generator.context:
        raise UserError(
            f"a writing prompt and its reply have up to {longest} tokens, the model's context is {generator.context}",
            where="memory.chunk_tokens",
            remedy="lower chunk_tokens or memory_tokens (in the preset, in evaluation.systems, or by --chunk-tokens and "
            "--memory-tokens), or take a model of a longer context; a single message longer than it cannot be read",
        )


def answer(asks: Sequence[Ask], generator: Generator, config: MemoryConfig, seed: int) -> tuple[Reply, ...]:
    """All replies, order kept, in one batched call unless the prompts are very long together. A prompt over the model's
    context is not asked, and says so."""
    replies: list[Reply] = []
    for number, part in enumerate(_slices(asks)):
        replies += _answer(part, generator, config, stable_int(seed, "answer", number))
    return tuple(replies)


def _answer(asks: Sequence[Ask], generator: Generator, config: MemoryConfig, seed: int) -> list[Reply]:
    prompts = [
        question_prompt(config, ask.known, ask.question.user_query, ask.item.options if ask.item else None)
        for ask in asks
    ]
    fits = [fitting(prompt, generator, config.answer_tokens) for prompt in prompts]
    generated = generator.generate(
        [prompt for prompt, fit in zip(prompts, fits, strict=True) if fit], max_tokens=config.answer_tokens, seed=seed
    )
    waiting = iter(generated)
    return [
        reply(ask, next(waiting)) if fit else reply(ask, None, "over_long") for ask, fit in zip(asks, fits, strict=True)
    ]


def _slices(asks: Sequence[Ask]) -> Iterator[list[Ask]]:
    """Runs of what is asked, each of about `AT_ONCE` characters of what is known at most."""
    part: list[Ask] = []
    size = 0
    for ask in asks:
        own = len(ask.known) if isinstance(ask.known, str) else sum(len(message.content) for message in ask.known)
        if part and size + own > AT_ONCE:
            yield part
            part, size = [], 0
        part.append(ask)
        size += own
    if part:
        yield part


def fitting(prompt: str, generator: Generator, max_tokens: int) -> bool:
    """Whether prompt and reply fit into the model's context. Never cut instead: a cut chat is another test."""
    limit = generator.context
    if limit is None:
        return True
    room = limit - max_tokens - generator.template_tokens
    return len(prompt.encode()) <= room or generator.count(prompt) <= room  # a token is a byte at least


def reply(ask: Ask, generation: Generation | None, problem: Problem = "") -> Reply:
    """A generation as a row of the journal; `generation` None with the problem that kept it from being asked."""
    refused = generation is not None and generation.refused
    return Reply(
        question_id=ask.question.question_id,
        order=ask.item.order if ask.item else None,
        moment=ask.item.moment if ask.item else "end",
        output=generation.text if generation else "",
        finished=generation.finished if generation else False,
        problem="refused" if refused else problem,
        input_tokens=generation.input_tokens if generation else 0,
        output_tokens=generation.output_tokens if generation else 0,
    )


def batch_seed(batch: Batch) -> int:
    """What sampled replies of a batch are drawn by; the same batch is the same draw, on another day and after a kill."""
    return stable_int(batch.seed, "batch", batch.index)


class Stopwatch:
    """Seconds since it was last read."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def lap(self) -> float:
        now = time.monotonic()
        elapsed, self._last = now - self._last, now
        return elapsed
