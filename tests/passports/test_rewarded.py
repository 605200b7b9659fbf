"""The reward of a passport is recomputed as training wrote it."""

from __future__ import annotations

from typing import Any

import pytest

from personamem_pipeline.passports.records import Passport, Reward
from personamem_pipeline.passports.rewarded import REWARDS, constant_of, reward_link
from personamem_pipeline.presets import RewardsConfig
from personamem_pipeline.training.grpo.curriculum import Item
from personamem_pipeline.training.rewards import stated
from tests.training.conftest import question

CHOICE, OPEN = Item(question(1), {"a": "tea"}, "a"), Item(question(0), None, None)


class Named:
    """A judge of which only the name matters."""

    name = "judge/1"

    def verdicts(self, briefs: Any) -> Any:
        raise AssertionError("nobody is judged here")


@pytest.mark.parametrize("items", [[CHOICE], [CHOICE, OPEN]], ids=["unjudged", "judged"])
def test_what_training_states_is_found_to_be_so(items: list[Item], monkeypatch: pytest.MonkeyPatch) -> None:
    weights = RewardsConfig(length=0.25)
    written = Reward.model_validate_json(stated.reward_stated(weights, items, Named()).model_dump_json())
    preset = {"section": {"rewards": weights.model_dump(mode="json")}}
    passport = Passport(format=2, stage="grpo_checkpoint", inputs={}, code_version="c", preset=preset, reward=written)
    link = reward_link("it", passport)
    assert link.status == "ok" and link.found.startswith(REWARDS), link
    assert ("judged by judge/1" in link.found) == (len(items) > 1)
    monkeypatch.setattr(stated, "REWARDS", "rewards/2")
    assert constant_of(stated.reward_stated(weights, items, Named())) == "rewards/2"
