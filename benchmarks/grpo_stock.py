"""Our trainer against stock TRL on single-turn rows of the same tokens (`protocol: full_context`, no write turns).

Both get TRL's configuration from `trl_config`, the same policy, prompts, seeds and rewards. Once both sample for themselves
(the whole step) and once both are given the sampled ids (what is left is training: rows, loss, optimizer, logging). That
they train on the same tokens, and take the same gradient, is checked. Rows of one length show what the memory trainer's own
work costs; with rows of different lengths its sorting and trimming comes in.

TRL projects only the sampled positions onto the vocabulary where Triton runs, and every position of the prompts too
elsewhere; ours never does (`loss.sampled_positions_only`). `as on a GPU` has stock TRL do likewise, so that what is left of
the difference is the trainers' own.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOTrainer

from benchmarks.grpo_setup import (
    MESSAGE,
    Part,
    Steps,
    Trained,
    grpo,
    middle,
    policy,
    population,
    renderer,
    train,
    worth,
)
from personamem_pipeline.memory.episode import question_prompt
from personamem_pipeline.memory.generators.transformers import TORCH_SEEDS
from personamem_pipeline.presets import GrpoConfig, MemoryConfig
from personamem_pipeline.training.grpo.loss import sampled_positions_only
from personamem_pipeline.training.grpo.options import trl_config
from personamem_pipeline.training.grpo.rollouts import Sampled
from personamem_pipeline.training.grpo.trainer import MemoryGRPOTrainer

Call = tuple[list[list[int]], int, int, Sampled]
"""Prompts, budget, seed, and what was sampled. There is one call of the sampler a step."""
Gradients = dict[str, torch.Tensor]


class Gradient(TrainerCallback):  # type: ignore[misc]
    """Keeps the first step's gradients."""

    def __init__(self) -> None:
        self.found: Gradients = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.found:
            named = kwargs["model"].named_parameters()
            self.found = {name: p.grad.clone() for name, p in named if p.grad is not None}


class Recording(MemoryGRPOTrainer):
    """Keeps every call of the sampler, one a step."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.calls: list[Call] = []
        super().__init__(*args, **kwargs)
        self.gradient = Gradient()
        self.add_callback(self.gradient)

    def _sample(self, rows: list[list[int]], max_tokens: int, temperature: float, seed: int) -> Sampled:
        sampled = super()._sample(rows, max_tokens, temperature, seed)
        self.calls.append((rows, max_tokens, seed, sampled))
        return sampled


def replaying(calls: Sequence[Call]) -> type[MemoryGRPOTrainer]:
    """Our trainer, given what was sampled."""

    class Replaying(MemoryGRPOTrainer):
        def _sample(self, rows: list[list[int]], max_tokens: int, temperature: float, seed: int) -> Sampled:
            step: int = self.state.global_step
            return calls[step][3]

    return Replaying


def stock(
    config: GrpoConfig, context: int, prompts: Sequence[str], calls: Sequence[Call], scratch: Path, *, replay: bool
) -> tuple[Steps, Gradient, list[Sampled]]:
    """Stock TRL on the same prompts: with the ids sampled in `calls`, or sampling anew from the same seeds."""
    steps, gradient, seen, own = Steps(), Gradient(), list[Sampled](), renderer()

    def roll_out(batch: list[str], trainer: Any) -> dict[str, Any]:
        expected, budget, seed, sampled = calls[trainer.state.global_step]
        rows = [own.prompt_ids(prompt) for prompt in batch]
        if rows != expected:
            raise SystemExit("the two trainers read different prompts")
        if not replay:
            trainer.max_completion_length = trainer.generation_config.max_new_tokens = budget
            with torch.random.fork_rng():
                torch.manual_seed(seed % TORCH_SEEDS)
                sampled = trainer._generate_single_turn(rows, None, {}, num_generations=1)
        seen.append(sampled)
        return {"prompt_ids": rows, "completion_ids": sampled[0], "logprobs": None}

    args = trl_config(config, scratch, 0, {})
    args.save_strategy = "no"
    trainer = GRPOTrainer(
        model=policy(context).train(),
        args=args,
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
        reward_funcs=[lambda completions, **_: [worth(reply) for reply in completions]],
        rollout_func=roll_out,
        processing_class=own.tokenizer,
        callbacks=[steps, gradient],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return steps, gradient, seen


CASES: dict[str, tuple[bool, Callable[[], AbstractContextManager[None]]]] = {
    "whole step": (False, nullcontext),
    "training": (True, nullcontext),
    "whole step, as on a GPU": (False, sampled_positions_only),
    "training, as on a GPU": (True, sampled_positions_only),
}
"""What is timed: whether sampled ids are given, and how the LM head works."""


def measure(quick: bool, scratch: Path) -> Part:
    """Both lengths of rows, sampling and replaying, in alternating rounds."""
    reply, messages = (4, 1) if quick else (32, 4)
    config = grpo(
        steps=2 if quick else 4,
        prompts_per_step=2 if quick else 4,
        rollouts=2 if quick else 4,
        micro_batch_rows=2 if quick else 4,
    )
    lengths: Mapping[str, Callable[[int], int]] = {
        "one length": lambda _: messages * MESSAGE,
        "1 to 2": lambda i: (messages + i % (messages + 1)) * MESSAGE,
    }
    lines = [["rows of", "what", "stock TRL, s a step", "ours, s a step", "ours / stock"]]
    figures: dict[str, Any] = {}
    for name, tokens in list(lengths.items())[int(quick) :]:
        ratios, seconds = compare(config, tokens, reply, 1 if quick else 3, scratch)
        figures[name] = {"ratios": ratios, "seconds": seconds}
        for what, (theirs, ours) in seconds.items():
            lines.append([name, what, middle(theirs), middle(ours), middle(ratios[what])])
    tokens_told = f"{config.answers} rows of {messages * MESSAGE}+ prompt and {reply} sampled tokens"
    return Part(
        f"(a) single-turn rows: this trainer against stock TRL; {tokens_told}", lines, figures,
        ("Same sampled ids and same gradient on both sides (checked).",),
    )  # fmt: skip


def compare(
    config: GrpoConfig, tokens: Callable[[int], int], reply: int, rounds: int, scratch: Path
) -> tuple[dict[str, list[float]], dict[str, tuple[list[float], list[float]]]]:
    """Ratios ours/stock of every round, and seconds (theirs, ours) of every step but each run's first."""
    histories, questions = population(config.prompts_per_step, tokens, 1)
    memory = MemoryConfig(
        protocol="full_context", prompts="compact", chunk_tokens=1, max_chunks=1, memory_tokens=1, answer_tokens=reply
    )
    context = 4 * max(history.tokens for history in histories.values()) + 512

    def ours(kind: type[MemoryGRPOTrainer]) -> Trained:
        return train(policy(context), histories, questions, config, memory, scratch, kind=kind)

    first = ours(Recording).trainer
    assert isinstance(first, Recording)
    calls = first.calls
    prompts = [
        question_prompt(memory, histories[item.question.person_id].messages, item.question.user_query, item.options)
        for item in first.items
    ]
    ratios: dict[str, list[float]] = {what: [] for what in CASES}
    seconds: dict[str, tuple[list[float], list[float]]] = {what: ([], []) for what in ratios}
    for turn in range(rounds):
        for what, (replay, head) in CASES.items():
            found: dict[str, list[float]] = {}
            for side in ("ours", "stock") if turn % 2 else ("stock", "ours"):
                if side == "ours":
                    with head():
                        found[side] = ours(replaying(calls) if replay else MemoryGRPOTrainer).seconds[1:]
                    continue
                with head():
                    steps, gradient, seen = stock(config, context, prompts, calls, scratch, replay=replay)
                found[side] = steps.seconds[1:]
                check(first.gradient.found, gradient.found, [call[3][0] for call in calls], [ids for ids, _ in seen])
            ratios[what].append(statistics.median(found["ours"]) / statistics.median(found["stock"]))
            for kept, side in zip(seconds[what], ("stock", "ours"), strict=True):
                kept += found[side]
    return ratios, seconds


def check(ours: Gradients, theirs: Gradients, our_ids: list[list[list[int]]], their_ids: list[list[list[int]]]) -> None:
    """Times of different work would compare nothing. The first step's tokens are the same to the bit, and so on while the
    weights are; gradients are, up to the order of adding.
    """
    if our_ids[0] != their_ids[0]:
        raise SystemExit("the two trainers sampled different tokens")
    for name, value in theirs.items():
        if not torch.allclose(ours[name], value, rtol=1e-3, atol=1e-6):
            raise SystemExit(f"the two trainers' gradients of {name} differ by {(ours[name] - value).abs().max()}")
