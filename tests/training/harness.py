"""One optimizer step of `MemoryGRPOTrainer` on a tiny model, with its gradients, and the same gradients by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig

from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.presets import GrpoConfig, MemoryConfig
from personamem_pipeline.training.grpo.curriculum import Item
from personamem_pipeline.training.grpo.options import trl_config
from personamem_pipeline.training.grpo.rolling import Rewards
from personamem_pipeline.training.grpo.scored import ScoredRollout
from personamem_pipeline.training.grpo.trainer import MemoryGRPOTrainer
from tests.training.conftest import MEMORY, history, pay

Gradients = dict[str, torch.Tensor]
GROUP, PROMPTS = 4, 2


class Capture(TrainerCallback):
    """Keeps the gradients of every optimizer step, before the optimizer uses them."""

    def __init__(self) -> None:
        self.steps: list[Gradients] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        named = kwargs["model"].named_parameters()
        self.steps.append({name: p.grad.clone() for name, p in named if p.grad is not None})


@dataclass
class Step:
    """What a run left."""

    trainer: MemoryGRPOTrainer
    gradients: list[Gradients]
    scored: list[ScoredRollout] = field(default_factory=list)


def grpo_config(**more: Any) -> GrpoConfig:
    figures = {
        "steps": 1, "prompts_per_step": PROMPTS, "rollouts": GROUP, "micro_batch_rows": 4, "learning_rate": 1e-12,
        "max_grad_norm": 1e9, "seed": 5, "mask_overlong": False,
    }  # fmt: skip
    return GrpoConfig.model_validate(figures | more)


def arguments(config: GrpoConfig, path: Path, most_writes: int, **trl: Any) -> GRPOConfig:
    args = trl_config(config, path, most_writes, {})
    args.save_strategy = "no"
    for name, value in trl.items():
        setattr(args, name, value)
    return args


def train(
    model: Any,
    items: Sequence[Item],
    renderer: Renderer,
    path: Path,
    lengths: Sequence[int],
    *,
    rewards: Rewards = pay,
    memory: MemoryConfig = MEMORY,
    writes: int | None = None,
    trl: dict[str, Any] | None = None,
    trainer: type[MemoryGRPOTrainer] = MemoryGRPOTrainer,
    weights: dict[str, float] | None = None,
    **figures: Any,
) -> Step:
    """Train (one step unless `figures` say otherwise); `writes`: rows planned per memory, more make more dummies."""
    config, capture, seen = grpo_config(**figures, rewards=weights or {}), Capture(), []
    planned = max(lengths) if writes is None else writes
    made = trainer(
        model=model,
        args=arguments(config, path, planned, **(trl or {})),
        train_dataset=Dataset.from_list(
            [{"prompt": item.question.user_query, "item": i} for i, item in enumerate(items)]
        ),
        items=items,
        histories={f"t{number}": history(number, length) for number, length in enumerate(lengths)},
        memory=memory,
        config=config,
        renderer=renderer,
        rewards=rewards,
        most_writes=planned,
        on_rollouts=lambda step, scored: seen.extend(scored),
        callbacks=[capture],
    )
    made.train()
    return Step(made, capture.steps, seen)


def by_hand(
    model: Any,
    scored: Sequence[ScoredRollout],
    *,
    aggregation: str = "token",
    longest: int = 0,
    own: bool = False,
    mask_overlong: bool = False,
) -> Gradients:
    """REINFORCE written out: -sum over turns of weight x A x log p(turn), over the denominator. No trainer, no masks.

    A write turn's A is the mean over the scored answers that its memory led to plus its own reward's, an answer's is its
    part of that mean (`own`: the whole).
    """
    total, tokens, turns_in_all = torch.zeros((), dtype=next(model.parameters()).dtype), 0, 0
    for one in scored:
        known = [a for a, reward in zip(one.advantages, one.answers, strict=True) if reward.total is not None]
        shared = sum(known) / len(known) if known else 0.0
        credited = [
            (turn.generation, shared + extra)
            for turn, extra in zip(one.rollout.turns, one.turn_advantages, strict=True)
        ]
        credited += [
            (reply, advantage / (1 if own else max(1, len(known))))
            for reply, advantage in zip(one.rollout.answers, one.advantages, strict=True)
            if reply.finished or not mask_overlong
        ]
        sampled = sum(len(turn.token_ids) for turn, _ in credited)
        for turn, advantage in credited:
            weight = {"token": 1.0, "constant": 1.0, "trajectory": 1 / sampled, "row": 1 / len(turn.token_ids)}
            total = total - weight[aggregation] * advantage * log_probability(model, turn)
        tokens, turns_in_all = tokens + sampled, turns_in_all + len(credited)
    denominator = {
        "token": tokens, "trajectory": len(scored), "constant": len(scored) * longest, "row": turns_in_all,
    }[aggregation]  # fmt: skip
    (total / denominator).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def log_probability(model: Any, turn: Any) -> torch.Tensor:
    """Sum of the log-probabilities of a turn's sampled tokens, in a forward pass without padding."""
    ids = torch.tensor([[*turn.prompt_ids, *turn.token_ids]])
    logps = torch.log_softmax(model(ids).logits[0, :-1], dim=-1)
    chosen = logps[torch.arange(ids.shape[1] - 1), ids[0, 1:]]
    return chosen[len(turn.prompt_ids) - 1 :].sum()


def assert_equal(found: Gradients, expected: Gradients, tolerance: float = 2e-6) -> None:
    assert found.keys() == expected.keys()
    largest = max(value.abs().max().item() for value in expected.values())
    assert largest > 50 * tolerance and math.isfinite(largest), f"the gradient is next to nothing: {largest}"
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, atol=tolerance, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )
