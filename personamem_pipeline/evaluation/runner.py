"""Asking one system the whole benchmark: batch by batch, from the journal where it is answered, telling of progress.

What a system costs is counted as it goes. An evaluation stops after the batch that went over its budget, and a stopped one
goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.journal import Journal
from personamem_pipeline.evaluation.records import MemoryStep, Outputs, Reply
from personamem_pipeline.evaluation.source import Batch, Source
from personamem_pipeline.evaluation.systems.base import System
from personamem_pipeline.presets import PricesConfig
from personamem_pipeline.progress import Interrupted, Progress


@dataclass
class Spent:
    """Tokens of this process's own calls; what the journal already had costs nothing again."""

    prices: PricesConfig | None = None
    budget_tokens: int | None = None
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, outputs: Outputs) -> None:
        rows: tuple[Reply | MemoryStep, ...] = (*outputs.replies, *outputs.steps)
        self.count(sum(row.input_tokens for row in rows), sum(row.output_tokens for row in rows))

    def count(self, input_tokens: int, output_tokens: int) -> None:
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens

    @property
    def dollars(self) -> float | None:
        if self.prices is None:
            return None
        return (self.input_tokens * self.prices.input + self.output_tokens * self.prices.output) / 1e6

    def __str__(self) -> str:
        money = "" if self.dollars is None else f", ${self.dollars:.2f}"
        return f"{self.input_tokens + self.output_tokens:,} tokens{money}"

    def check(self) -> None:
        """Raises `UserError` when the budget is used up; everything answered is kept."""
        if self.budget_tokens is not None and self.input_tokens + self.output_tokens >= self.budget_tokens:
            raise UserError(
                f"the evaluation used {self}, its budget is {self.budget_tokens:,}",
                where="evaluation.budget_tokens",
                remedy="raise it and run again: what was answered is kept",
            )


@dataclass
class Runner:
    """Asks systems, one after the other, all of them the same questions."""

    source: Source
    progress: Progress
    spent: Spent = field(default_factory=Spent)

    def run(self, name: str, journal: Journal, make: Callable[[], System]) -> int:
        """Answer what is not in the journal yet; returns how many people had to be asked. `make` is called only then."""
        if len(journal.answered()) == len(self.source.batch_sizes):
            return 0
        system, asked, done, started = make(), 0, 0, time.monotonic()
        with journal.writing():
            answered = journal.answered()
            for batch in self.source.batches():
                done += len(batch.people)
                if batch.index in answered:
                    continue
                self.may_go_on(name, done - len(batch.people))
                outputs = system.run(batch)
                journal.append(batch.index, outputs)
                self.spent.add(outputs)
                asked += len(batch.people)
                self._tell(name, batch, outputs, done, asked, time.monotonic() - started)
        return asked

    def may_go_on(self, name: str, done: int) -> None:
        """Raises `Interrupted` when asked to stop, `UserError` when the budget is used up."""
        if self.progress.stop_requested:
            raise Interrupted(f"{name} has answered about {done} of {len(self.source.by_person)} people; all is kept")
        self.spent.check()

    def _tell(self, name: str, batch: Batch, outputs: Outputs, done: int, asked: int, seconds: float) -> None:
        people = len(self.source.by_person)
        left = (people - done) * seconds / max(1, asked)
        self.progress.say(
            "%-18s %d/%d people, %d write turns, %d replies, %.1f s, about %.0f s left; so far %s",
            name, done, people, len(outputs.steps), len(outputs.replies), seconds, left, self.spent,
        )  # fmt: skip
