"""A generator with its decoding fixed, for callers that ask and do not choose how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from personamem_pipeline.memory.generators.base import Around, Generation, Generator
from personamem_pipeline.seeds import stable_int


@dataclass(frozen=True)
class Decoded(Around):
    """Answers at one temperature, whatever the call says; draws depend on `seed` and on the call's own seed."""

    generator: Generator
    temperature: float
    seed: int

    def generate(
        self, prompts: Sequence[str], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Generation]:
        own = stable_int("decoded", self.seed, seed)
        return self.generator.generate(prompts, max_tokens=max_tokens, temperature=self.temperature, seed=own)
