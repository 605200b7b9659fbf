"""Rows: every turn of every rollout is one training row; tensors only, no trainer.

Symbols: R rows per rank and step (constant: dummy rows fill up), P and C the longest prompt and completion of a
micro-batch, T_r the sampled tokens of rollout r. A dummy row is one pad token of prompt and one masked pad token of
completion: it costs a two-token forward, keeps the number of micro-steps equal on all ranks, and has no gradient.

What a row's advantage is, `credit` says. The loss is TRL's `dapo`: the sum over tokens of weight x surrogate, divided by
`num_items_in_batch`. `weigh` says what the weights and the denominator are; both count all rows of all ranks, dropped ones
included, so that splitting, ordering and dropping change no gradient.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

Tensors = dict[str, torch.Tensor]
Aggregation = Literal["token", "trajectory", "constant", "row"]
WRITE, ANSWER = 0, 1
"""Kinds of turns, as in the tensor `turn_kind`; -1 is a dummy."""


@dataclass(frozen=True)
class Row:
    """One turn as token ids, with its advantage."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    advantage: float
    kind: int
    """`WRITE` or `ANSWER`."""
    rollout: int
    """Number of its rollout on this rank."""
    sampled: tuple[float, ...] | None = None
    """Log-probabilities as the engine sampled them; None where the trained model itself did."""
    weight: float = 1.0
    """Of each of its tokens in the loss."""

    @property
    def size(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)


def weigh(rows: Sequence[Row], aggregation: Aggregation, longest: int) -> tuple[list[Row], float]:
    """The rows with their weights, and this rank's part of the denominator (to be summed over ranks).

    - `token`: weight 1, over all sampled tokens. MemAgent and DAPO (arXiv 2503.14476).
    - `trajectory`: weight 1 / T_r, over the number of rollouts: a rollout with more turns weighs no more (slime).
    - `constant`: weight 1, over rollouts x `longest`, the most tokens that a rollout can sample (Dr. GRPO, 2503.20783).
    - `row`: weight 1 / own length, over the number of rows: a short answer weighs as much as a long memory.
    """
    rollouts = len({row.rollout for row in rows})
    if aggregation == "token":
        return list(rows), float(sum(len(row.completion_ids) for row in rows))
    if aggregation == "constant":
        return list(rows), float(rollouts * longest)
    if aggregation == "row":
        return [replace(row, weight=1 / len(row.completion_ids)) for row in rows], float(len(rows))
    tokens: Counter[int] = Counter()
    for row in rows:
        tokens[row.rollout] += len(row.completion_ids)
    return [replace(row, weight=1 / tokens[row.rollout]) for row in rows], float(rollouts)


def plan_micro_batches(rows: Sequence[Row], *, total: int, micro: int, pad_id: int, drop: bool = True) -> list[Tensors]:
    """`total / micro` micro-batches, longest rows first, each trimmed to its own longest prompt and completion.

    With `drop`, rows without advantage (their group's rewards were all equal) are left out and dummies take their place,
    which saves their forward and backward pass. It changes no gradient, unless there is a KL term: that one acts on every
    row, so a caller with one keeps them. An out-of-memory error shows in the first micro-step.
    """
    if total % micro:
        raise ValueError(f"{total} rows do not divide into micro-batches of {micro}")
    kept = sorted((row for row in rows if row.advantage != 0.0 or not drop), key=lambda row: -row.size)
    if len(kept) > total:
        raise ValueError(f"{len(kept)} rows do not fit into the {total} planned for this step")
    filled: list[Row | None] = [*kept, *[None] * (total - len(kept))]
    return [to_tensors(filled[start : start + micro], pad_id) for start in range(0, total, micro)]


def to_tensors(rows: Sequence[Row | None], pad_id: int) -> Tensors:
    """Shapes: `prompt_ids`, `prompt_mask` (m, P) padded left; `completion_ids`, `completion_mask` (m, C) padded right;
    `advantages`, `turn_kind` (m,); `tool_mask` (m, 1), the row's weight; `sampling_per_token_logps` (m, C) where an engine
    sampled. None stands for a dummy row.

    TRL multiplies the whole token loss by `tool_mask`, the KL term included, which is what a weight should do.
    """
    prompts = [row.prompt_ids if row else (pad_id,) for row in rows]
    completions = [row.completion_ids if row else (pad_id,) for row in rows]
    width, length = max(map(len, prompts)), max(map(len, completions))
    tensors = {
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
        "tool_mask": torch.tensor([[row.weight if row else 0.0] for row in rows]),
        "turn_kind": torch.tensor([row.kind if row else -1 for row in rows]),
    }
    sampled = [row.sampled if row else () for row in rows]
    if any(own is not None for row, own in zip(rows, sampled, strict=True) if row):
        tensors["sampling_per_token_logps"] = torch.tensor(
            [list(own or ()) + [torch.nan] * (length - len(own or ())) for own in sampled]
        )
    return tensors
