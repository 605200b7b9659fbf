"""Credit: answers find their memory and back, and a memory is told the mean of what it led to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.training.grpo.credit import answers_of, memory_advantage, rollout_of


@given(group=st.integers(1, 5), questions=st.integers(1, 5), blocks=st.integers(1, 4))
def test_every_answer_belongs_to_exactly_one_memory(group: int, questions: int, blocks: int) -> None:
    places = [answers_of(rollout, group, questions) for rollout in range(blocks * group)]
    assert sorted(position for own in places for position in own) == list(range(blocks * group * questions))
    for rollout, own in enumerate(places):
        assert [rollout_of(position, group, questions) for position in own] == [(rollout, i) for i in range(questions)]


@given(group=st.integers(1, 5), questions=st.integers(1, 5), rollout=st.integers(0, 19))
def test_the_answers_to_one_question_stand_side_by_side(group: int, questions: int, rollout: int) -> None:
    # What TRL takes the baseline over: positions [k * group, (k + 1) * group).
    first = rollout // group * group
    for question in range(questions):
        groups = {answers_of(first + within, group, questions)[question] // group for within in range(group)}
        assert len(groups) == 1


@pytest.mark.parametrize(
    ("advantages", "scored", "expected"),
    [([0.5], [True], 0.5), ([0.5, -0.1], [True, True], 0.2), ([0.5, 0.0], [True, False], 0.5), ([0.0], [False], 0.0)],
)
def test_a_memory_gets_the_mean_of_its_scored_answers(
    advantages: list[float], scored: list[bool], expected: float
) -> None:
    assert memory_advantage(advantages, scored) == pytest.approx(expected)
