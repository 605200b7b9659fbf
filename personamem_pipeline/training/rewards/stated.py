"""What a checkpoint says of its reward: the weights, the judge and the judge's prompts, and one digest over all of it."""

from __future__ import annotations

from collections.abc import Sequence

from personamem_pipeline.passports.records import Reward
from personamem_pipeline.passports.rewarded import REWARDS
from personamem_pipeline.presets import RewardsConfig
from personamem_pipeline.questions.judge import INSTRUCTIONS, STANCE_INSTRUCTIONS, Judge
from personamem_pipeline.seeds import digest
from personamem_pipeline.training.grpo.curriculum import Item


def reward_stated(weights: RewardsConfig, items: Sequence[Item], judge: Judge) -> Reward:
    """The reward of a run over `items`. Where none of them is open, nobody asks the judge, and it is not named."""
    judged = any(item.letter is None for item in items)
    stated = {
        "weights": {name: float(value) for name, value in weights.model_dump().items()},
        "judge": judge.name if judged else None,
        "judge_prompts": digest([INSTRUCTIONS, STANCE_INSTRUCTIONS]) if judged else None,
    }
    return Reward.model_validate({"version": digest([REWARDS, stated]), **stated})
