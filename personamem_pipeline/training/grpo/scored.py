"""A rollout with all that is known about its worth: what credit, logs and the rollout table look at."""

from __future__ import annotations

from dataclasses import dataclass

from personamem_pipeline.training.grpo.rollouts import Rollout
from personamem_pipeline.training.labels import ChunkLabels
from personamem_pipeline.training.rewards.records import AnswerReward, TurnReward


@dataclass(frozen=True)
class ScoredRollout:
    """One memory, the answers from it, and what they were paid."""

    rollout: Rollout
    labels: tuple[ChunkLabels, ...]
    """One per write turn."""
    answers: tuple[AnswerReward, ...]
    advantages: tuple[float, ...]
    """One per answer, as TRL centred it over the group; 0 where the answer could not be scored."""
    turns: tuple[TurnReward, ...]
    turn_advantages: tuple[float, ...]
    """One per write turn: its own reward, centred over the group (`credit.centred`)."""
