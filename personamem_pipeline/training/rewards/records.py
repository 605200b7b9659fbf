"""What rewards say: their parts by name, and the weighted sum that training is paid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class AnswerReward:
    """The reward of one answer."""

    parts: Mapping[str, float]
    """Unweighted, by the names of `RewardsConfig`; only those that apply to this answer and could be had."""
    total: float | None
    """Weighted sum; None when a part with weight that applies could not be judged: such an answer leaves the baseline."""


@dataclass(frozen=True)
class TurnReward:
    """The reward of one write turn, of the memory itself."""

    parts: Mapping[str, float]
    total: float
    """Weighted (and annealed) sum; 0 where no reward of memories is switched on."""
