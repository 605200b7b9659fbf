"""Rewards of memories themselves, one number a write turn; what they compare is in `training.labels`."""

from __future__ import annotations

from personamem_pipeline.training.labels import ChunkLabels, forbidden_share

FREE = 0.75
"""Share of the cap up to which length costs nothing."""


def length_reward(tokens: int, finished: bool, cap: int) -> float:
    """0 for up to 75 % of `cap` tokens, falling linearly to -1 at 100 %; a memory that the cap cut off is -1.

    The soft overlong punishment of DAPO (arXiv 2503.14476, section 3.4), with a quarter of the cap as its buffer.
    """
    if not finished:
        return -1.0
    over = (tokens - FREE * cap) / (cap - FREE * cap)
    return -min(1.0, max(0.0, over))


def forbidden_reward(memory: str, labels: ChunkLabels) -> float | None:
    """Minus the share of what was to be forgotten that still stands in the memory; None when there is nothing to forget."""
    share = forbidden_share(memory, labels)
    return None if share is None else -share


def annealed(weight: float, step: int, steps: int) -> float:
    """The weight at optimizer step `step` (the first is 0) as it falls linearly to 0 within `steps`; 0 steps: it stays."""
    return weight * max(0.0, 1 - step / steps) if steps else weight
