"""Rows: the weights are those of the named means, however rollouts are spread; no row is lost; shapes as documented."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.training.grpo.rows import (
    ANSWER,
    WRITE,
    Aggregation,
    Row,
    Tensors,
    plan_micro_batches,
    to_tensors,
    weigh,
)

PAD, LONGEST, TOTAL = 0, 40, 12
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)
ids = st.lists(st.integers(1, 9), min_size=1, max_size=7).map(tuple)


one_row = st.builds(
    Row, ids, ids, st.sampled_from([-1.0, 0.0, 0.5]), st.sampled_from([WRITE, ANSWER]), st.integers(0, 3)
)


def as_sampled(rows: list[Row]) -> list[Row]:
    """The rows as an engine other than the trained model would give them; and weighed, each otherwise."""
    return [replace(r, sampled=tuple(-0.5 * x for x in r.completion_ids), weight=1 / (1 + r.rollout)) for r in rows]


def drawn_rows(*, least: int = 0) -> st.SearchStrategy[list[Row]]:
    return st.lists(one_row, min_size=least, max_size=TOTAL)


def real(batches: list[Tensors]) -> list[Row]:
    """The rows read back out of tensors, dummies left out; the rollout's number is not in the tensors."""
    found = []
    for batch in batches:
        for i, kind in enumerate(batch["turn_kind"].tolist()):
            if kind == -1:
                continue
            completion = batch["completion_mask"][i].bool()
            sampled = batch.get("sampling_per_token_logps")
            found.append(
                Row(
                    tuple(batch["prompt_ids"][i][batch["prompt_mask"][i].bool()].tolist()),
                    tuple(batch["completion_ids"][i][completion].tolist()),
                    batch["advantages"][i].item(),
                    kind,
                    0,
                    None if sampled is None else tuple(sampled[i][completion].tolist()),
                    round(batch["tool_mask"][i].item(), 4),
                )
            )
    return found


def comparable(rows: list[Row]) -> list[tuple[object, ...]]:
    return sorted(
        (r.prompt_ids, r.completion_ids, r.advantage, r.kind, r.sampled or (), round(r.weight, 4)) for r in rows
    )


# ---- weights


def by_definition(rows: list[Row], values: list[list[float]], aggregation: Aggregation) -> float:
    """The aggregate of one value per token, as the papers say it, without weights."""
    rollouts = sorted({row.rollout for row in rows})
    if aggregation == "token":
        flat = [value for own in values for value in own]
        return sum(flat) / len(flat)
    if aggregation == "row":
        return sum(sum(own) / len(own) for own in values) / len(values)
    per_rollout = [
        [value for row, own in zip(rows, values, strict=True) if row.rollout == rollout for value in own]
        for rollout in rollouts
    ]
    if aggregation == "trajectory":
        return sum(sum(own) / len(own) for own in per_rollout) / len(rollouts)
    return sum(sum(own) / LONGEST for own in per_rollout) / len(rollouts)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@given(rows=drawn_rows(least=1), data=st.data())
def test_weights_and_denominator_are_the_mean_of_that_name(
    aggregation: Aggregation, rows: list[Row], data: st.DataObject
) -> None:
    draw = data.draw(st.randoms(use_true_random=False))
    values = [[draw.uniform(-2, 2) for _ in row.completion_ids] for row in rows]
    weighed, denominator = weigh(rows, aggregation, LONGEST)
    found = sum(row.weight * sum(own) for row, own in zip(weighed, values, strict=True)) / denominator
    assert found == pytest.approx(by_definition(rows, values, aggregation), abs=1e-9)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@given(rows=drawn_rows(least=1), ranks=st.lists(st.integers(0, 2), min_size=4, max_size=4))
def test_spreading_whole_rollouts_over_ranks_changes_no_weight_and_no_denominator(
    aggregation: Aggregation, rows: list[Row], ranks: list[int]
) -> None:
    together, denominator = weigh(rows, aggregation, LONGEST)
    apart, parts = {}, 0.0
    for rank in set(ranks):
        own = [(i, row) for i, row in enumerate(rows) if ranks[row.rollout] == rank]
        weighed, part = weigh([row for _, row in own], aggregation, LONGEST)
        apart.update(zip([i for i, _ in own], weighed, strict=True))
        parts += part
    assert [apart[i] for i in range(len(rows))] == together
    assert parts == pytest.approx(denominator)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@given(rows=drawn_rows(least=1), order=st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_weight(aggregation: Aggregation, rows: list[Row], order: object) -> None:
    places = list(range(len(rows)))
    order.shuffle(places)  # type: ignore[attr-defined]
    straight, denominator = weigh(rows, aggregation, LONGEST)
    mixed, other = weigh([rows[i] for i in places], aggregation, LONGEST)
    assert [straight[i] for i in places] == mixed and denominator == other


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@given(rows=drawn_rows(least=1))
def test_rows_without_advantage_count_like_the_others(aggregation: Aggregation, rows: list[Row]) -> None:
    """Else dropping them before the forward would change the gradient of the rest."""
    changed = [replace(row, advantage=0.0) for row in rows]
    weights, denominator = weigh(rows, aggregation, LONGEST)
    same, other = weigh(changed, aggregation, LONGEST)
    assert [row.weight for row in weights] == [row.weight for row in same] and denominator == other


@given(rows=drawn_rows(least=1))
def test_a_rollout_of_more_turns_weighs_no_more_per_trajectory(rows: list[Row]) -> None:
    weighed, _ = weigh(rows, "trajectory", LONGEST)
    for rollout in {row.rollout for row in rows}:
        own = [row for row in weighed if row.rollout == rollout]
        assert sum(row.weight * len(row.completion_ids) for row in own) == pytest.approx(1)


# ---- micro-batches


@given(rows=drawn_rows(), micro=st.sampled_from([1, 2, 3, 4, 6, 12]), drop=st.booleans(), engine=st.booleans())
def test_every_row_with_advantage_is_there_once_longest_first(
    rows: list[Row], micro: int, drop: bool, engine: bool
) -> None:
    rows = as_sampled(rows) if engine else rows
    batches = plan_micro_batches(rows, total=TOTAL, micro=micro, pad_id=PAD, drop=drop)
    assert [len(batch["prompt_ids"]) for batch in batches] == [micro] * (TOTAL // micro)
    found = real(batches)
    assert comparable(found) == comparable([row for row in rows if row.advantage or not drop])
    sizes = [row.size for row in found]
    assert sizes == sorted(sizes, reverse=True)
    kinds = [kind for batch in batches for kind in batch["turn_kind"].tolist()]
    assert kinds[len(found) :] == [-1] * (TOTAL - len(found)), "dummies fill up the end"


@given(rows=drawn_rows(least=1), more=st.integers(0, 3), micro=st.sampled_from([1, 2, 4]))
def test_more_dummies_change_no_real_row(rows: list[Row], more: int, micro: int) -> None:
    few = plan_micro_batches(rows, total=TOTAL, micro=micro, pad_id=PAD)
    many = plan_micro_batches(rows, total=TOTAL + more * micro, micro=micro, pad_id=PAD)
    for one, other in zip(few, many, strict=False):
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(one[name], other[name], equal_nan=True)
    assert all(batch["turn_kind"].tolist() == [-1] * micro for batch in many[len(few) :])


@given(rows=drawn_rows(), micro=st.sampled_from([1, 3, 6]))
def test_every_micro_batch_is_trimmed_to_its_own_longest(rows: list[Row], micro: int) -> None:
    for batch in plan_micro_batches(rows, total=TOTAL, micro=micro, pad_id=PAD):
        assert batch["prompt_mask"].sum(1).max() == batch["prompt_ids"].shape[1]
        assert batch["completion_ids"].shape[1] == max(1, int(batch["completion_mask"].sum(1).max()))


def test_too_many_rows_are_an_error() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        plan_micro_batches([Row((1,), (1,), 1.0, WRITE, 0)] * 3, total=2, micro=1, pad_id=PAD)
    with pytest.raises(ValueError, match="divide"):
        plan_micro_batches([], total=3, micro=2, pad_id=PAD)


# ---- tensors


@given(rows=drawn_rows(least=1), dummies=st.integers(0, 2), engine=st.booleans())
def test_shapes_sides_and_masks_are_as_documented(rows: list[Row], dummies: int, engine: bool) -> None:
    rows = as_sampled(rows) if engine else rows
    batch = to_tensors([*rows, *[None] * dummies], PAD)
    m = len(rows) + dummies
    prompts, completions = max(len(r.prompt_ids) for r in rows), max(len(r.completion_ids) for r in rows)
    shapes = {
        "prompt_ids": (m, prompts), "prompt_mask": (m, prompts), "completion_ids": (m, completions),
        "completion_mask": (m, completions), "advantages": (m,), "turn_kind": (m,), "tool_mask": (m, 1),
    }  # fmt: skip
    if engine:
        shapes["sampling_per_token_logps"] = (m, completions)
    assert {name: tuple(tensor.shape) for name, tensor in batch.items()} == shapes
    for i, row in enumerate(rows):
        left, right = prompts - len(row.prompt_ids), completions - len(row.completion_ids)
        assert batch["prompt_ids"][i].tolist() == [PAD] * left + list(row.prompt_ids)
        assert batch["prompt_mask"][i].tolist() == [0] * left + [1] * len(row.prompt_ids)
        assert batch["completion_ids"][i].tolist() == list(row.completion_ids) + [PAD] * right
        assert batch["completion_mask"][i].tolist() == [1] * len(row.completion_ids) + [0] * right
    assert comparable(real([batch])) == comparable(rows)


@given(rows=drawn_rows(least=1), dummies=st.integers(0, 2))
def test_what_the_engine_said_is_missing_on_padding_only(rows: list[Row], dummies: int) -> None:
    batch = to_tensors([*as_sampled(rows), *[None] * dummies], PAD)
    unknown = torch.isnan(batch["sampling_per_token_logps"])
    assert torch.equal(unknown, batch["completion_mask"] == 0)


def test_a_dummy_row_has_a_prompt_and_nothing_to_learn() -> None:
    batch = to_tensors([None], PAD)
    assert batch["prompt_mask"].tolist() == [[1]] and batch["completion_mask"].tolist() == [[0]]
    assert batch["advantages"].tolist() == [0.0] and batch["tool_mask"].tolist() == [[0.0]]
    assert batch["turn_kind"].tolist() == [-1]
    assert batch["prompt_ids"].dtype == batch["completion_ids"].dtype == torch.int64
