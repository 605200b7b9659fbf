"""Credit: answers find their memory and back, baselines are over rollouts, and the estimate is the policy gradient."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.memory.episode import MemoryTurn
from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.training.grpo.credit import (
    AnswerCredit,
    answers_of,
    centred,
    memory_advantage,
    rollout_of,
    rollout_rows,
)
from personamem_pipeline.training.grpo.curriculum import Item
from personamem_pipeline.training.grpo.rollouts import Rollout
from personamem_pipeline.training.grpo.rows import ANSWER, WRITE
from tests.training.conftest import question

FINISHED, CUT = True, False


def rollout(writes: int, answers: Sequence[bool], logprobs: bool = False) -> Rollout:
    """A rollout of `writes` write turns and one answer per flag (whether it ended by itself); ids tell turns apart."""

    def reply(number: int, finished: bool) -> Generation:
        ids = (10 + number, 20 + number)
        return Generation((number, number), ids, "x", finished, (-0.5, -0.1 * number) if logprobs else None)

    turns = [MemoryTurn(i, (), "p", reply(i, FINISHED), "m", "") for i in range(writes)]
    replies = [reply(writes + i, finished) for i, finished in enumerate(answers)]
    return Rollout(tuple(turns), tuple(Item(question(0, i), None, None) for i in range(len(answers))), tuple(replies))


def over_groups(rewards: Sequence[float | None], group: int) -> tuple[list[float], list[bool]]:
    """What TRL makes of a flat batch of rewards without scaling: each less its group's mean, `None` left out and 0."""
    advantages: list[float] = []
    for start in range(0, len(rewards), group):
        own = rewards[start : start + group]
        known = [value for value in own if value is not None]
        mean = sum(known) / len(known) if known else 0.0
        advantages += [0.0 if value is None else value - mean for value in own]
    return advantages, [value is not None for value in rewards]


# ---- places


@given(group=st.integers(1, 5), questions=st.integers(1, 5), blocks=st.integers(1, 4))
def test_every_answer_belongs_to_exactly_one_memory(group: int, questions: int, blocks: int) -> None:
    places = [answers_of(number, group, questions) for number in range(blocks * group)]
    assert sorted(position for own in places for position in own) == list(range(blocks * group * questions))
    for number, own in enumerate(places):
        assert [rollout_of(position, group, questions) for position in own] == [(number, i) for i in range(questions)]


@given(group=st.integers(1, 5), questions=st.integers(1, 5), number=st.integers(0, 19))
def test_the_answers_to_one_question_stand_side_by_side(group: int, questions: int, number: int) -> None:
    # What TRL takes the baseline over: positions [k * group, (k + 1) * group).
    first = number // group * group
    for asked in range(questions):
        groups = {answers_of(first + within, group, questions)[asked] // group for within in range(group)}
        assert len(groups) == 1


# ---- what a memory is told


@pytest.mark.parametrize(
    ("advantages", "scored", "expected"),
    [([0.5], [True], 0.5), ([0.5, -0.1], [True, True], 0.2), ([0.5, 0.0], [True, False], 0.5), ([0.0], [False], 0.0)],
)
def test_a_memory_gets_the_mean_of_its_scored_answers(
    advantages: list[float], scored: list[bool], expected: float
) -> None:
    assert memory_advantage(advantages, scored) == pytest.approx(expected)


@given(
    rewards=st.integers(1, 4).flatmap(
        lambda turns: st.lists(st.lists(st.floats(-2, 2), min_size=turns, max_size=turns), min_size=3, max_size=3)
    ),
    blocks=st.integers(1, 3),
)
def test_rewards_of_memories_sum_to_zero_in_each_group_and_turn(rewards: list[list[float]], blocks: int) -> None:
    groups = [[[value + block for value in turns] for turns in rewards] for block in range(blocks)]
    out = centred([turns for group in groups for turns in group], 3)
    assert len(out) == 3 * blocks
    for block in range(blocks):
        own = out[3 * block : 3 * block + 3]
        for turn in zip(*own, strict=True):
            assert sum(turn) == pytest.approx(0, abs=1e-9)
        # A shift that all of a group share, as a history that is easy to note has, teaches nothing.
        for turns, first in zip(own, out[:3], strict=True):
            assert turns == pytest.approx(first, abs=1e-9)


def test_groups_without_write_turns_have_nothing_to_centre() -> None:
    assert centred([[], [], [], []], 2) == [[], [], [], []]


@given(writes=st.integers(0, 3), advantages=st.lists(st.floats(-1, 1), min_size=1, max_size=3), data=st.data())
def test_a_turns_own_reward_is_added_to_its_row_alone(
    writes: int, advantages: list[float], data: st.DataObject
) -> None:
    extra = [data.draw(st.floats(-1, 1)) for _ in range(writes)]
    scored = [True] * len(advantages)
    own = rollout(writes, [FINISHED] * len(advantages))
    plain = rollout_rows(7, own, advantages, scored)
    paid = rollout_rows(7, own, advantages, scored, turn_advantages=extra)
    differences = [after.advantage - before.advantage for before, after in zip(plain, paid, strict=True)]
    assert differences == pytest.approx([*extra, *[0.0] * len(advantages)])


# ---- rows of a rollout


@given(writes=st.integers(0, 4), answers=st.integers(1, 3), logprobs=st.booleans(), number=st.integers(0, 9))
def test_every_turn_is_one_row_with_the_very_ids_that_were_sampled(
    writes: int, answers: int, logprobs: bool, number: int
) -> None:
    own = rollout(writes, [FINISHED] * answers, logprobs)
    rows = rollout_rows(number, own, [0.5] * answers, [True] * answers)
    turns = [*(turn.generation for turn in own.turns), *own.answers]
    assert [(row.prompt_ids, row.completion_ids, row.sampled) for row in rows] == [
        (turn.prompt_ids, turn.token_ids, turn.logprobs) for turn in turns
    ]
    assert [row.kind for row in rows] == [WRITE] * writes + [ANSWER] * answers
    assert {row.rollout for row in rows} == {number}


@pytest.mark.parametrize("credit", ["share", "own"])
@given(rewards=st.lists(st.floats(0, 1), min_size=4, max_size=4), writes=st.lists(st.integers(0, 4), min_size=4))
def test_one_question_per_memory_is_memagents_rule(
    credit: AnswerCredit, rewards: list[float], writes: list[int]
) -> None:
    """Every turn of a rollout has the same value: the rollout's reward less the mean over the group's rollouts."""
    advantages, scored = over_groups(rewards, 4)
    mean = sum(rewards) / 4
    for i in range(4):
        (place,) = answers_of(i, 4, 1)
        rows = rollout_rows(i, rollout(writes[i], [FINISHED]), [advantages[place]], [scored[place]], credit=credit)
        assert [row.advantage for row in rows] == pytest.approx([rewards[i] - mean] * (writes[i] + 1))
    assert sum(advantages) == pytest.approx(0, abs=1e-9)


def test_the_baseline_is_over_rollouts_not_over_rows() -> None:
    """Reward 1 with three turns against reward 0 with one: a mean over the four rows would give 0.25 and -0.75."""
    advantages, scored = over_groups([1.0, 0.0], 2)
    rows = [
        row
        for i, writes in enumerate((2, 0))
        for row in rollout_rows(i, rollout(writes, [FINISHED]), [advantages[i]], [scored[i]])
    ]
    assert [row.advantage for row in rows] == [0.5, 0.5, 0.5, -0.5]


def test_equal_rewards_teach_nothing() -> None:
    advantages, scored = over_groups([0.75] * 3, 3)
    rows = [row for i in range(3) for row in rollout_rows(i, rollout(2, [FINISHED]), [advantages[i]], [scored[i]])]
    assert {row.advantage for row in rows} == {0.0}


def test_a_rollout_nobody_could_score_leaves_the_baseline_and_teaches_nothing() -> None:
    advantages, scored = over_groups([1.0, None, 0.0], 3)
    rows = [rollout_rows(i, rollout(2, [FINISHED]), [advantages[i]], [scored[i]]) for i in range(3)]
    assert [[row.advantage for row in own] for own in rows] == [[0.5] * 3, [0.0] * 3, [-0.5] * 3]


@pytest.mark.parametrize(("credit", "answers"), [("share", [0.4, 0.0, -0.1]), ("own", [0.8, 0.0, -0.2])])
def test_an_answer_nobody_could_score_is_no_part_of_its_memorys_mean(
    credit: AnswerCredit, answers: list[float]
) -> None:
    own = rollout(1, [FINISHED] * 3)
    rows = rollout_rows(0, own, [0.8, 0.0, -0.2], [True, False, True], credit=credit)
    assert [row.advantage for row in rows] == pytest.approx([0.3, *answers])


@pytest.mark.parametrize("mask", [False, True])
def test_a_cut_answer_counts_for_its_memory_and_teaches_only_if_asked_to(mask: bool) -> None:
    rows = rollout_rows(0, rollout(2, [CUT, FINISHED]), [0.8, -0.2], [True, True], mask_overlong=mask)
    assert [row.advantage for row in rows] == pytest.approx([0.3, 0.3, *([] if mask else [0.4]), -0.1])


# ---- the gradient


@pytest.mark.parametrize(("questions", "credit"), [(1, "share"), (1, "own"), (2, "share"), (2, "own")])
def test_the_expected_estimate_is_the_policy_gradient(questions: int, credit: AnswerCredit) -> None:
    """Summed over *every* outcome of a small world, exactly: no sampling, no tolerance for noise.

    A memory (one of two) is written without knowing the questions; each question is answered (one of two ways) from the
    memory. `share` is the gradient of a memory's mean reward J, times G - 1: G rollouts, each with a baseline that holds
    1/G of itself. `own` is the same with the answers' part taken M times.
    """
    group = 2
    draw = torch.Generator().manual_seed(questions)
    reward = torch.rand(questions, 2, 2, generator=draw, dtype=torch.float64)
    write = torch.randn(2, generator=draw, dtype=torch.float64).requires_grad_()
    reply = torch.randn(questions, 2, 2, generator=draw, dtype=torch.float64).requires_grad_()

    chances = torch.softmax(write, 0)
    expected = sum(
        chances[m] * (torch.softmax(reply[q, m], 0) @ reward[q, m]) for q in range(questions) for m in (0, 1)
    )
    true_write, true_reply = torch.autograd.grad(expected / questions, [write, reply])

    found_write, found_reply = torch.zeros_like(write), torch.zeros_like(reply)
    one_rollout = list(product((0, 1), repeat=1 + questions))
    for outcome in product(one_rollout, repeat=group):
        rewards = [0.0] * (group * questions)
        for i, (memory, *given_answers) in enumerate(outcome):
            for q, place in enumerate(answers_of(i, group, questions)):
                rewards[place] = float(reward[q, memory, given_answers[q]])
        advantages, scored = over_groups(rewards, group)
        chance, surrogate = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for i, (memory, *given_answers) in enumerate(outcome):
            places = answers_of(i, group, questions)
            rows = rollout_rows(
                i, rollout(1, [FINISHED] * questions), [advantages[p] for p in places], [scored[p] for p in places],
                credit=credit,
            )  # fmt: skip
            taken = [torch.log_softmax(write, 0)[memory]]
            taken += [torch.log_softmax(reply[q, memory], 0)[answer] for q, answer in enumerate(given_answers)]
            chance = chance * torch.stack(taken).sum().exp().detach()
            surrogate = surrogate + sum(row.advantage * logp for row, logp in zip(rows, taken, strict=True))
        of_write, of_reply = torch.autograd.grad(surrogate, [write, reply])
        found_write += chance * of_write
        found_reply += chance * of_reply

    times = questions if credit == "own" else 1
    torch.testing.assert_close(found_write, (group - 1) * true_write, atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(found_reply, (group - 1) * times * true_reply, atol=1e-12, rtol=1e-9)
