"""Rows: every turn of every rollout is one training row; tensors only, no trainer.

Symbols: R rows per rank and step (constant: dummy rows fill up), P and C the longest prompt and completion. A dummy row is
one pad token of prompt and one masked pad token of completion: it costs a two-token forward, keeps the number of
micro-steps equal on all ranks, and has no gradient.

What a row's advantage is, `credit` says. The loss is TRL's `dapo`: the sum over tokens divided by `num_items_in_batch`,
which here counts all trainable tokens of all rollouts of all ranks, dropped rows included, so that splitting, ordering and
dropping change no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Row:
    """One turn as token ids, with its advantage."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    advantage: float

    @property
    def size(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)


def trainable_tokens(rows: Sequence[Row]) -> int:
    """Tokens that the loss is a mean over: all sampled tokens."""
    return sum(len(row.completion_ids) for row in rows)


def weigh_turns_equally(rows: Sequence[Row]) -> list[Row]:
    """The same rows with `mean length / own length` folded into their advantages.

    The clipped surrogate is positively homogeneous in the advantage, so under the same denominator the loss becomes the
    mean over turns of each turn's token mean, times a constant: one short answer weighs as much as one long memory.
    """
    mean = trainable_tokens(rows) / max(1, len(rows))
    return [replace(row, advantage=row.advantage * mean / len(row.completion_ids)) for row in rows]


def plan_micro_batches(rows: Sequence[Row], *, total: int, micro: int, pad_id: int) -> list[Tensors]:
    """`total / micro` micro-batches, longest rows first, each trimmed to its own longest prompt and completion.

    Rows without advantage carry no gradient (their group's rewards were all equal): they are left out and dummies take
    their place, which saves their forward and backward pass. An out-of-memory error shows in the first micro-step.
    """
    if total % micro:
        raise ValueError(f"{total} rows do not divide into micro-batches of {micro}")
    kept = sorted((row for row in rows if row.advantage != 0.0), key=lambda row: -row.size)
    if len(kept) > total:
        raise ValueError(f"{len(kept)} rows do not fit into the {total} planned for this step")
    filled: list[Row | None] = [*kept, *[None] * (total - len(kept))]
    return [to_tensors(filled[start : start + micro], pad_id) for start in range(0, total, micro)]


def to_tensors(rows: Sequence[Row | None], pad_id: int) -> Tensors:
    """Shapes: `prompt_ids`, `prompt_mask` (m, P) padded left; `completion_ids`, `completion_mask` (m, C) padded right;
    `advantages` (m,). None stands for a dummy row."""
    prompts = [row.prompt_ids if row else (pad_id,) for row in rows]
    completions = [row.completion_ids if row else (pad_id,) for row in rows]
    width, length = max(map(len, prompts)), max(map(len, completions))
    return {
        "prompt_ids": torch.tensor([[pad_id] * (width - len(ids)) + list(ids) for ids in prompts]),
        "prompt_mask": torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts]),
        "completion_ids": torch.tensor([list(ids) + [pad_id] * (length - len(ids)) for ids in completions]),
        "completion_mask": torch.tensor(
            [
                [int(row is not None)] * len(ids) + [0] * (length - len(ids))
                for row, ids in zip(rows, completions, strict=True)
            ]
        ),
        "advantages": torch.tensor([row.advantage if row else 0.0 for row in rows]),
    }
