"""A generator that notes how long each of its replies was waited for; what is made of that is `evaluation.timings`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from personamem_pipeline.memory.generators.base import Around, Generation, Generator

DIGITS = 4
"""Decimals of a second that are kept."""


@dataclass
class Timed(Around):
    """A generator that notes how long each reply was waited for."""

    generator: Generator
    waits: list[float] = field(default_factory=list)

    def generate(
        self, prompts: Sequence[str], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Generation]:
        started = time.monotonic()
        replies = self.generator.generate(prompts, max_tokens=max_tokens, temperature=temperature, seed=seed)
        call = time.monotonic() - started
        self.waits += [round(call if reply.seconds is None else reply.seconds, DIGITS) for reply in replies]
        return replies

    def taken(self) -> tuple[float, ...]:
        """What was noted since this was last asked."""
        noted, self.waits = tuple(self.waits), []
        return noted
