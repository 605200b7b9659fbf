"""A choice pays when it is stated, and only then."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.training.rewards.choice import choice_reward

OPTIONS = {"a": "tea", "b": "wine"}


@pytest.mark.parametrize(
    ("text", "reward"),
    [("\\boxed{b}", 1.0), ("x\nwine", 1.0), ("wine\nx", 0.0), ("\\boxed{a}", 0.0), ("b", 0.0), ("", 0.0)],
)
def test_only_the_right_option_strictly_stated_pays(text: str, reward: float) -> None:
    assert choice_reward(text, OPTIONS, "b") == reward


@given(st.text())
def test_it_is_all_or_nothing(text: str) -> None:
    assert choice_reward(text, OPTIONS, "b") in (0.0, 1.0)
