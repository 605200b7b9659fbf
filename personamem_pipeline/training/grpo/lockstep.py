"""The same calls on every rank.

Ranks read histories of different lengths, so one may be done with its write turns while another is not. Where sampling is
a collective (a vLLM server fed by all ranks at once, sharded weights), every rank has to make the same number of calls, and
a server slices what comes back by equal numbers of prompts: unequal ones would give rollouts each other's memories.
"""

from __future__ import annotations

from collections.abc import Sequence

from personamem_pipeline.training.grpo.rollouts import Sample, Sampled


class EqualCalls:
    """A `Sample` that pads every write call to `rows` prompts, and makes up for missing calls in `finish`.

    Args:
        sample: what really samples.
        dummy: token ids of the prompt that fills up.
        calls: write calls that every rank has to make: the most chunks of any rank's histories.
        rows: prompts in each of them, the rollouts of a rank; 0 where only the number of calls has to be equal.
        max_tokens: budget of a write call. Dummy calls ask for the same, because a server takes it from one rank for all.
    """

    def __init__(self, sample: Sample, *, dummy: Sequence[int], calls: int, rows: int, max_tokens: int) -> None:
        self._sample, self._dummy = sample, list(dummy)
        self._missing, self._rows, self._max_tokens = calls, rows, max_tokens
        self._writing = True

    def __call__(self, prompts: list[list[int]], max_tokens: int, temperature: float, seed: int) -> Sampled:
        """Sample; while memories are written, filled up to the number of prompts that all ranks send."""
        if not self._writing:
            return self._sample(prompts, max_tokens, temperature, seed)
        if self._missing == 0 or 0 < self._rows < len(prompts):
            raise ValueError(f"{len(prompts)} prompts with {self._missing} write calls left; planned were {self._rows}")
        self._missing -= 1
        fill = [self._dummy] * (self._rows - len(prompts))
        ids, chances = self._sample([*prompts, *fill], max_tokens, temperature, seed)
        return ids[: len(prompts)], None if chances is None else chances[: len(prompts)]

    def finish(self, temperature: float, seed: int) -> None:
        """Make the write calls that other ranks still make; what follows are answers, equally many everywhere."""
        while self._missing:
            self._missing -= 1
            self._sample([self._dummy] * max(1, self._rows), self._max_tokens, temperature, seed)
        self._writing = False
