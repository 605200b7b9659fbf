"""What a checkpoint says of its reward: another weight, judge or prompt is another version; unasked judges are not named."""

from __future__ import annotations

from typing import Any

import pytest

from personamem_pipeline.presets import RewardsConfig
from personamem_pipeline.training.grpo.curriculum import Item
from personamem_pipeline.training.rewards import stated
from personamem_pipeline.training.rewards.stated import reward_stated
from tests.training.conftest import question


class Named:
    """A judge of which only the name matters."""

    def __init__(self, name: str) -> None:
        self.name = name

    def verdicts(self, briefs: Any) -> Any:
        raise AssertionError("nobody is judged here")


OPEN, CHOICE = Item(question(0), None, None), Item(question(1), {"a": "tea"}, "a")
WEIGHTS = RewardsConfig()


def test_a_judge_is_named_where_an_answer_is_open() -> None:
    judged = reward_stated(WEIGHTS, [CHOICE, OPEN], Named("judge/1"))
    assert judged.judge == "judge/1" and judged.judge_prompts and judged.weights["choice"] == 1.0
    alone = reward_stated(WEIGHTS, [CHOICE], Named("judge/1"))
    assert alone.judge is alone.judge_prompts is None
    assert alone == reward_stated(WEIGHTS, [CHOICE], Named("judge/2"))


def test_whatever_changes_what_is_paid_changes_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(weights: RewardsConfig = WEIGHTS, judge: str = "judge/1") -> str:
        return reward_stated(weights, [OPEN], Named(judge)).version

    found = [version(), version(RewardsConfig(length=0.1)), version(judge="judge/2")]
    for name in ("INSTRUCTIONS", "STANCE_INSTRUCTIONS", "REWARDS"):
        monkeypatch.setattr(stated, name, "other")
        found.append(version())
    assert len(set(found)) == len(found)
