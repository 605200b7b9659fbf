"""Micro-batches: nothing lost, nothing wasted, shapes as documented."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.training.grpo.rows import (
    Row,
    plan_micro_batches,
    to_tensors,
    trainable_tokens,
    weigh_turns_equally,
)

PAD = 0
ids = st.lists(st.integers(1, 9), min_size=1, max_size=7).map(tuple)
rows = st.lists(st.builds(Row, ids, ids, st.sampled_from([-1.0, 0.0, 0.5])), max_size=12)


def unpadded(batch: dict[str, torch.Tensor], name: str) -> list[tuple[int, ...]]:
    return [
        tuple(row[mask.bool()].tolist()) for row, mask in zip(batch[f"{name}_ids"], batch[f"{name}_mask"], strict=True)
    ]


@given(rows=rows, micro=st.sampled_from([1, 2, 4]))
def test_rows_with_advantage_survive_longest_first(rows: list[Row], micro: int) -> None:
    batches = plan_micro_batches(rows, total=12, micro=micro, pad_id=PAD)
    assert len(batches) == 12 // micro
    found = [
        (prompt, completion, advantage)
        for batch in batches
        for prompt, completion, advantage in zip(
            unpadded(batch, "prompt"), unpadded(batch, "completion"), batch["advantages"].tolist(), strict=True
        )
        if completion
    ]
    wanted = [(row.prompt_ids, row.completion_ids, row.advantage) for row in rows if row.advantage]
    assert sorted(found) == sorted(wanted)
    sizes = [len(prompt) + len(completion) for prompt, completion, _ in found]
    assert sizes == sorted(sizes, reverse=True)


@given(rows=rows)
def test_every_micro_batch_is_trimmed_to_its_own_longest(rows: list[Row]) -> None:
    for batch in plan_micro_batches(rows, total=12, micro=3, pad_id=PAD):
        assert batch["prompt_mask"].sum(1).max() == batch["prompt_ids"].shape[1]
        assert batch["completion_ids"].shape[1] == max(1, int(batch["completion_mask"].sum(1).max()))


def test_a_dummy_row_has_a_prompt_and_nothing_to_learn() -> None:
    batch = to_tensors([None], PAD)
    assert batch["prompt_mask"].tolist() == [[1]] and batch["completion_mask"].tolist() == [[0]]
    assert batch["advantages"].tolist() == [0.0]


def test_tokens_of_rows_without_advantage_count_in_the_mean() -> None:
    assert trainable_tokens([Row((1,), (1, 2, 3), 0.0), Row((1,), (1,), 1.0)]) == 4


def test_too_many_rows_are_an_error() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        plan_micro_batches([Row((1,), (1,), 1.0)] * 3, total=2, micro=1, pad_id=PAD)
    with pytest.raises(ValueError, match="divide"):
        plan_micro_batches([], total=3, micro=2, pad_id=PAD)


@given(rows=rows.filter(bool))
def test_turns_that_weigh_equally_sum_to_the_mean_of_turn_means(rows: list[Row]) -> None:
    weighed = weigh_turns_equally(rows)
    mean = trainable_tokens(rows) / len(rows)
    for before, after in zip(rows, weighed, strict=True):
        assert after.advantage * len(after.completion_ids) == pytest.approx(before.advantage * mean)
