"""Rewards of memories: bounded, monotone, and silent where there is nothing to say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.training.labels import ChunkLabels
from personamem_pipeline.training.rewards.memory import annealed, forbidden_reward, length_reward


@pytest.mark.parametrize(
    ("tokens", "reward"), [(0, 0.0), (1500, 0.0), (1501, -1 / 500), (1750, -0.5), (2000, -1.0), (2400, -1.0)]
)
def test_length_costs_from_three_quarters_of_the_cap(tokens: int, reward: float) -> None:
    assert length_reward(tokens, True, 2000) == pytest.approx(reward)


@given(cap=st.integers(1, 4096), one=st.integers(0, 5000), other=st.integers(0, 5000))
def test_length_is_bounded_and_longer_is_never_better(cap: int, one: int, other: int) -> None:
    shorter, longer = sorted((one, other))
    assert -1 <= length_reward(longer, True, cap) <= length_reward(shorter, True, cap) <= 0
    assert length_reward(shorter, False, cap) == -1, "what the cap cut off was too long, whatever was kept of it"


def test_what_was_to_be_forgotten_costs_its_share() -> None:
    labels = ChunkLabels((), frozenset(), ("green tea", "loud jazz"))
    assert forbidden_reward("- drinks: green tea", labels) == -0.5
    assert forbidden_reward("none", labels) == 0.0
    assert forbidden_reward("- drinks: green tea", ChunkLabels((), frozenset(), ())) is None


def test_a_weight_falls_to_nothing_and_stays_there() -> None:
    assert [annealed(0.2, step, 4) for step in range(6)] == pytest.approx([0.2, 0.15, 0.1, 0.05, 0.0, 0.0])
    assert annealed(0.2, 1000, 0) == 0.2


@given(weight=st.floats(0, 10), step=st.integers(0, 1000), steps=st.integers(0, 1000))
def test_an_annealed_weight_never_grows(weight: float, step: int, steps: int) -> None:
    assert 0 <= annealed(weight, step + 1, steps) <= annealed(weight, step, steps) <= weight
