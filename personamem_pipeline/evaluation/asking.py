"""Every system of a preset asked the whole benchmark: the part of an evaluation that calls models.

What it leaves are journals, one per system; asking again what they hold calls nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from personamem_pipeline.evaluation.journal import Journal
from personamem_pipeline.evaluation.leak import Remembering, probe
from personamem_pipeline.evaluation.records import MemoryStep
from personamem_pipeline.evaluation.runner import Runner
from personamem_pipeline.evaluation.source import Batch, Source
from personamem_pipeline.evaluation.systems import build, keys
from personamem_pipeline.evaluation.systems.base import System
from personamem_pipeline.evaluation.systems.build import Needs
from personamem_pipeline.evaluation.systems.guessers import guessers
from personamem_pipeline.presets import SystemConfig
from personamem_pipeline.store import write_json_atomically

ANSWERS = "answers"
"""Directory of the journals, below the store's scratch directory."""
WRITING = ("memory", "query_blind", "query_aware")
"""Readings whose memories the leak probe compares; `query_aware` shows that it can fail."""


@dataclass(frozen=True)
class Asking:
    """One benchmark, the systems that can be run on it, and where their replies are kept."""

    benchmark: str
    """What the benchmark is known by: its version, or the digest of its file."""
    needs: Needs
    systems: Mapping[str, SystemConfig]
    directory: Path
    journals: dict[str, Journal] = field(default_factory=dict)

    def everybody(self, runner: Runner) -> None:
        """Ask every system what it has not answered yet. Systems of one model follow each other: loading is slow."""
        models = list(dict.fromkeys(system.model for system in self.systems.values()))

        def turn(item: tuple[str, SystemConfig]) -> tuple[int, bool]:
            system = item[1]
            return models.index(system.model), system.reading == "swapped_history"  # it takes the memories of another

        for name, system in sorted(self.systems.items(), key=turn):
            runner.run(name, self.journal(name), partial(self.make, name, system))
        for guesser in guessers(self.source.questions):
            key = {"code": keys.replying_code(), "benchmark": self.benchmark, **self._asked}
            self.journals[guesser.name] = Journal.of(self.directory, guesser.name, key)
            runner.run(guesser.name, self.journals[guesser.name], partial(_itself, guesser))

    def journal(self, name: str) -> Journal:
        """Where a system's replies are kept."""
        if name not in self.journals:
            system = self.systems[name]
            own = self._writer(system)
            memories = self.journal(own).path.stem if own and system.reading == "swapped_history" else None
            key = keys.key(system, self.needs, self.benchmark, memories)
            self.journals[name] = Journal.of(self.directory, name, key)
        return self.journals[name]

    def make(self, name: str, system: SystemConfig) -> System:
        """A system, its model loaded."""
        return build.make(name, system, self.needs, self._memories(system))

    def probes(self, runner: Runner) -> list[dict[str, Any]]:
        """The leak probe of every system that writes, on a few people of the benchmark.

        What it found is kept beside the system's journal: a report made again asks no model.
        """
        people = self.needs.evaluation.leak_people
        if people < 2 or len(self.source.by_person) < 2 or self.needs.memory.protocol != "memory":
            return []
        writing = [name for name, system in self.systems.items() if system.reading in WRITING]
        return [self._probed(name, people, runner) for name in writing]

    def _probed(self, name: str, people: int, runner: Runner) -> dict[str, Any]:
        system = self.systems[name]
        path = self.journal(name).path.with_suffix(f".probe-{people}.json")
        if not path.exists():
            runner.may_go_on(name, len(self.source.by_person))
            first = next(self.source.batches())
            few = Batch(first.index, first.people[:people], orders=1, seed=first.seed)
            model = Remembering(self.needs.models.generator(system.model))
            with self.needs.models.wrapped(lambda _: model):
                write_json_atomically(path, probe(partial(self.make, name, system), few))
            runner.spent.count(*model.tokens)
        found = {**json.loads(path.read_text()), "causal": system.reading != "query_aware"}
        told = "the same whatever is asked" if found["equal"] else "others when something else is asked"
        runner.progress.say("%-18s leak probe: its %d memories are %s", name, found["steps"], told)
        return found

    @property
    def source(self) -> Source:
        return self.needs.source

    @property
    def _asked(self) -> dict[str, object]:
        return {"orders": self.source.orders, "seed": self.source.seed, "batch": self.source.people_per_batch}

    def _writer(self, system: SystemConfig) -> str | None:
        return self.needs.evaluation.memory_of(system.model)

    def _memories(self, system: SystemConfig) -> Callable[[Batch], tuple[MemoryStep, ...]]:
        def of(batch: Batch) -> tuple[MemoryStep, ...]:
            writer = self._writer(system)
            assert writer is not None, "checked by the preset"
            return self.journal(writer).outputs(batch.index).steps

        return of


def _itself(system: System) -> System:
    return system
