"""What the parts of `benchmarks.evaluation` share: people of a stored benchmark, the model, and timing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.models import Models, local_model
from personamem_pipeline.evaluation.source import Source, benchmark_source
from personamem_pipeline.evaluation.systems.base import Named
from personamem_pipeline.evaluation.systems.memory import MemorySystem
from personamem_pipeline.memory.generators.base import Around, Generation, Generator
from personamem_pipeline.presets import EvaluationConfig, MemoryConfig, load_preset
from personamem_pipeline.questions.find import find_dataset
from personamem_pipeline.store import Store

ResultT = TypeVar("ResultT")
NAME = "measured"


class Clock:
    """What seconds are. Of the wall; of this process's processors where other work would disturb (`--processor-time`)."""

    now: Callable[[], float] = time.perf_counter


@dataclass(frozen=True)
class Part:
    """What one part of the benchmark found."""

    title: str
    lines: list[list[str]]
    """The table, its heading first."""
    figures: dict[str, Any]
    """All of it, for the JSON file."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bench:
    """What is measured: a model with its protocol on the first people of a stored benchmark."""

    home: Path
    model: Path
    preset: str
    people: int
    rounds: int

    @property
    def memory(self) -> MemoryConfig:
        return load_preset(self.preset).memory

    def source(self, orders: int, *, pairs: bool = True) -> Source:
        """The first people by id, in one batch. `pairs` False leaves out the questions about what was to be forgotten,
        which the report asks twice."""
        store = Store(self.home / "store")
        try:
            _, version = find_dataset(store, "benchmark")
        except UserError as error:
            raise UserError(
                "there is no benchmark to ask",
                where=store.url,
                expected="the store of a finished demo",
                remedy="run `make demo` first, or give --home the directory of one (its PERSONAMEM_HOME)",
            ) from error
        source = benchmark_source(store, version, orders=orders, seed=0, people_per_batch=max(2, self.people))
        chosen = set(list(source.by_person)[: self.people])
        questions = [
            question
            for question in source.questions
            if question.person_id in chosen and (pairs or question.pref_type != "ask_to_forget")
        ]
        return replace(source, questions=questions)

    def models(self) -> Models:
        """The model as an evaluation opens it: greedy, in the preset's batches."""
        config = EvaluationConfig(batch_size=load_preset(self.preset).evaluation.batch_size)
        return Models({NAME: local_model(NAME, "measured", self.model, config)}, config)

    def generator(self) -> Generator:
        """The model, as long as the process lives."""
        return self.models().generator(NAME)

    def system(self, generator: Generator) -> MemorySystem:
        return MemorySystem(Named(NAME, "measured", "model"), generator, self.memory)


@dataclass
class Recorded(Around):
    """A generator that keeps what it was asked, so that the same can be asked again with nothing around it, and the
    seconds that its calls took."""

    generator: Generator
    seconds: float = 0.0
    calls: list[tuple[list[str], dict[str, Any]]] = field(default_factory=list)

    def generate(self, prompts: Sequence[str], **how: Any) -> list[Generation]:
        self.calls.append((list(prompts), how))
        replies, spent = timed(lambda: self.generator.generate(prompts, **how))
        self.seconds += spent
        return replies

    def again(self) -> list[str]:
        """Ask the engine all of it once more; the replies' texts, in order."""
        return [reply.text for prompts, how in self.calls for reply in self.generator.generate(prompts, **how)]


def timed(work: Callable[[], ResultT]) -> tuple[ResultT, float]:
    """The result, and the seconds that it took."""
    started = Clock.now()
    result = work()
    return result, Clock.now() - started


def same(what: str, one: Sequence[str], other: Sequence[str]) -> None:
    """Ends the run where two ways of doing the same gave different texts."""
    different = sum(a != b for a, b in zip(one, other, strict=True))
    if different:
        raise SystemExit(f"{what}: {different} of {len(one)} replies differ; these times do not compare")
