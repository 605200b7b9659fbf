"""The figures of a step: exact on rollouts by hand, the same over ranks as in one, and names that MLflow takes."""

from __future__ import annotations

import math
import pickle
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.training.grpo.rows import ANSWER, WRITE
from personamem_pipeline.training.grpo.scored import ScoredRollout
from personamem_pipeline.training.grpo.watch import Means, entropy_by_kind, memory_change, observe
from tests.training.hand_made import answer, item, labels, reply, scored, write

TEA, CHESS = "green tea", "speed chess"


def step() -> list[ScoredRollout]:
    """Two groups of two rollouts, each asked two questions; the last group reads nothing."""
    items = [item(pref_type="neutral_preferences"), item(kind="open", pref_type="health_and_medical_conditions")]
    known = [labels(TEA), labels(TEA, CHESS)]
    first = scored(
        [answer(1.0, choice=1.0, format=1.0), answer(0.5, open_ended=0.5)],
        items=items,
        turns=[write(0, f"- {TEA}"), write(1, f"- {TEA}\n- {CHESS}", said=reply("", sampled=8))],
        labelled=known,
        turn_parts={"length": -0.5},
    )
    cut = reply("- green t", sampled=4, finished=False)
    second = scored(
        [answer(0.0, choice=0.0, format=0.0), answer(None)],
        items=items,
        turns=[write(0, "- wine\n- jazz"), write(1, "- wine\n- jazz", kept="unfinished", said=cut)],
        labelled=known,
        replies=[reply("(a)", sampled=5, finished=False), reply("tea", sampled=1)],
    )
    bare = [
        scored([answer(1.0, choice=1.0), answer(total, open_ended=total)], items=items, replies=None)
        for total in (0.5, 0.25)
    ]
    return [first, second, *bare]


def test_every_figure_of_a_step_by_hand() -> None:
    assert observe(step(), group=2, memory_tokens=10).means() == pytest.approx(
        {
            "write/length": (3 + 8 + 3 + 4) / 4,
            "write/near_cap": 1 / 4,
            "write/truncated": 1 / 4,
            "memory/kept_unfinished": 1 / 4,
            "memory/kept_empty": 0,
            "memory/change": (1 + 1 / 2 + 1 + 0) / 4,
            "memory_reward/length": -0.5,
            "memory/retained/turn_1": (1 + 0) / 2,
            "memory/retained/turn_2": (1 + 0) / 2,
            "memory/lines": 2,
            "memory/retained": 1 / 2,
            "answer/length": (7 * 3 - 3 + 5 + 1) / 8,
            "answer/truncated": 1 / 8,
            "groups/unscored": 1 / 8,
            "reward/total": (1 + 0.5 + 0 + 1 + 0.5 + 1 + 0.25) / 7,
            "reward/choice": 3 / 4,
            "reward/format": 1 / 2,
            "reward/open_ended": (0.5 + 0.5 + 0.25) / 3,
            "accuracy/neutral_preferences": 3 / 4,
            "score/health_and_medical_conditions": (0.5 + 0.5 + 0.25) / 3,
            # differ; only one could be scored; both right; differ
            "groups/zero_variance": 2 / 4,
            "tokens/sampled": (3 + 8 + 6 + 3 + 4 + 6 + 6 + 6) / 4,
            "tokens/read": (40 + 40 + 20 + 20) / 4,
        }
    )


def test_groups_are_of_one_question_over_consecutive_rollouts() -> None:
    rollouts = [scored([answer(total)]) for total in (0.0, 0.0, 1.0, 1.0)]
    assert observe(rollouts, group=2, memory_tokens=1).means()["groups/zero_variance"] == 1
    assert observe(rollouts, group=4, memory_tokens=1).means()["groups/zero_variance"] == 0
    nobody = [scored([answer(None)]), scored([answer(None)])]
    figures = observe(nobody, group=2, memory_tokens=1).means()
    assert figures["groups/zero_variance"] == figures["groups/unscored"] == 1 and "reward/total" not in figures
    with pytest.raises(ValueError, match="whole groups"):
        observe(rollouts, group=3, memory_tokens=1)


def test_a_rollout_that_writes_nothing_has_no_figures_of_memories() -> None:
    names = observe([scored([answer(1.0)])], group=1, memory_tokens=9).means()
    assert not [name for name in names if name.startswith(("memory", "write"))]


def test_ranks_together_are_one_process() -> None:
    """Ranks see different kinds of questions and numbers of turns; a plain mean of their means would be wrong."""
    whole, merged = observe(step(), group=2, memory_tokens=10), Means()
    for rank in (step()[:2], step()[2:]):
        merged.merge(pickle.loads(pickle.dumps(observe(rank, group=2, memory_tokens=10))))
    assert merged.means() == pytest.approx(whole.means())
    assert list(merged.means()) == list(whole.means())


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-50, 50), st.integers(1, 4)))))
def test_merging_means_is_adding_in_one_place(ranks: list[list[tuple[str, int, int]]]) -> None:
    whole, merged = Means(), Means()
    for rank in ranks:
        own = Means()
        for name, value, count in rank:
            own.add(name, value, count)
            whole.add(name, value, count)
        merged.merge(own)
    assert merged == whole
    assert set(merged.means()) == {name for rank in ranks for name, *_ in rank}


def test_names_are_valid_in_mlflow() -> None:
    for name in observe(step(), group=2, memory_tokens=10).means():
        assert re.fullmatch(r"[A-Za-z0-9_\-. /]+", name) and ".." not in name and "//" not in name


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [("", "", 0), ("", "a", 1), ("a", "", 1), ("a\nb", "b\na", 0), ("a\nb\nc\nd", "a", 3 / 4), ("a", "b\nc", 1)],
)
def test_change_is_the_share_of_lines_that_differ(before: str, after: str, share: float) -> None:
    assert memory_change(before, after) == share


def test_entropy_counts_sampled_tokens_of_each_kind() -> None:
    entropies = torch.tensor([[1.0, 2.0, 9.0], [4.0, math.nan, math.nan], [5.0, 9.0, 9.0], [6.0, 6.0, 6.0]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]])
    kinds = torch.tensor([WRITE, ANSWER, -1, WRITE])
    figures = entropy_by_kind(entropies, mask, kinds)
    assert figures.means() == {"entropy/write": (1 + 2 + 18) / 5, "entropy/answer": 4.0}
    assert figures.counts == {"entropy/write": 5, "entropy/answer": 1}
    assert entropy_by_kind(entropies[2:3], mask[2:3], kinds[2:3]).means() == {}, "a dummy has no entropy, not 0"
