"""Length-sorted, trimmed micro-batches (`rows.plan_micro_batches`) against padding every row to the longest of the step.

The rows are those of real rollouts: long write turns, short answers, last chunks that are half full. Both plans hold the
same rows with the same advantages and go through the trainer's own loss; that their gradients are equal is checked. Padding
is as stock TRL does it: all rows of a step to the longest prompt and the longest completion among them, then equal parts.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.grpo_setup import MESSAGE, Part, Trained, grpo, middle, policy, population, timed, train, written
from personamem_pipeline.memory.generators.transformers import load_model
from personamem_pipeline.presets import MemoryConfig, load_preset
from personamem_pipeline.seeds import rng
from personamem_pipeline.training.grpo.credit import rollout_rows
from personamem_pipeline.training.grpo.rows import Row, Tensors, plan_micro_batches, to_tensors, weigh


def measure(quick: bool, scratch: Path) -> Part:
    """The demo preset's persons read by its base model; and chats of unequal length with memories up to a tenth of them."""
    lines = [["rows of", "rows", "plan", "padded to, tokens", "real tokens", "s a step", "padded / sorted"]]
    figures: dict[str, Any] = {}
    for name, trained in (("demo preset", demo(quick, scratch)), ("made-up, full memories", longer(quick, scratch))):
        found = compare(trained, 1 if quick else 3)
        figures[name] = found
        for plan in ("padded", "sorted"):
            ratio = statistics.median(found["ratios"]) if plan == "sorted" else 1.0
            lines.append(
                [
                    name, str(found["rows"]), plan, f"{found['slots'][plan]:,}", f"{found['real']:,}",
                    middle(found["seconds"][plan]), f"{ratio:.2f}" if plan == "sorted" else "",
                ]
            )  # fmt: skip
    return Part(
        "(b) micro-batches sorted by length and trimmed, against padding to the longest row of the step", lines, figures,
        ("Forward, loss and backward of one optimizer step; the gradients are equal (checked).",),
    )  # fmt: skip


def demo(quick: bool, scratch: Path) -> Trained:
    """One step over real sentences."""
    preset = load_preset("demo")
    histories, questions = written(2 if quick else 8)
    size = {"prompts_per_step": 4, "rollouts": 2} if quick else {"prompts_per_step": 16, "rollouts": 4}
    config = grpo(questions_per_memory=4, micro_batch_rows=4 if quick else 16, temperature=0.7, **size)
    model, _ = load_model(Path(preset.base.path), training=True)
    return train(model, histories, questions, config, preset.memory, scratch)


def longer(quick: bool, scratch: Path) -> Trained:
    """One step over chats of 1 to 5 chunks, each memory as long as it may be."""
    chunk = (1 if quick else 8) * MESSAGE
    histories, questions = population(2 if quick else 4, lambda i: (6 + 9 * i) * chunk // 8, 2)
    memory = MemoryConfig(
        prompts="compact", chunk_tokens=chunk, max_chunks=8, memory_tokens=8 if quick else 48, answer_tokens=24
    )
    config = grpo(
        prompts_per_step=4 if quick else 8, questions_per_memory=2, rollouts=2 if quick else 4, micro_batch_rows=4
    )
    return train(policy(2048), histories, questions, config, memory, scratch, full_memories=True)


def compare(trained: Trained, rounds: int) -> dict[str, Any]:
    """Seconds of both plans for the rows of the last step, and how many tokens each computes."""
    trainer = trained.trainer
    rows = [
        row
        for number, own in enumerate(trained.scored[-1])
        for row in rollout_rows(
            number, own.rollout, own.advantages, [True] * len(own.answers), turn_advantages=own.turn_advantages
        )
    ]
    rows, denominator = weigh(rows, "token", 0)
    micro = trainer.args.per_device_train_batch_size
    total = -(-len(rows) // micro) * micro
    pad_id = trainer.renderer.pad_id
    plans = {
        "padded": padded(rows, total, micro, pad_id),
        "sorted": plan_micro_batches(rows, total=total, micro=micro, pad_id=pad_id, drop=False),
    }
    seconds: dict[str, list[float]] = {plan: [] for plan in plans}
    gradients: dict[str, list[torch.Tensor]] = {}
    for turn in range(rounds + 1):  # the first is a warm-up
        for plan in list(plans)[:: 1 if turn % 2 else -1]:
            gradients[plan], spent = timed(lambda plan=plan: gradient(trainer, plans[plan], denominator))  # type: ignore[misc]
            if turn:
                seconds[plan].append(spent)
    for one, other in zip(*gradients.values(), strict=True):
        if not torch.allclose(one, other, rtol=1e-3, atol=1e-6):
            raise SystemExit(f"the two plans' gradients differ by {(one - other).abs().max()}")
    return {
        "rows": len(rows),
        "real": sum(row.size for row in rows),
        "slots": {plan: sum(slots(batch) for batch in batches) for plan, batches in plans.items()},
        "seconds": seconds,
        "ratios": [slow / fast for slow, fast in zip(seconds["padded"], seconds["sorted"], strict=True)],
    }


def padded(rows: Sequence[Row], total: int, micro: int, pad_id: int) -> list[Tensors]:
    """All rows to the longest of the step, in a seeded order."""
    filled: list[Row | None] = [*rng(0, "benchmark order").sample(rows, len(rows)), *[None] * (total - len(rows))]
    whole = to_tensors(filled, pad_id)
    return [{key: value[start : start + micro] for key, value in whole.items()} for start in range(0, total, micro)]


def slots(batch: Tensors) -> int:
    """Tokens that a micro-batch computes, padding included."""
    return int(batch["prompt_ids"].numel() + batch["completion_ids"].numel())


def gradient(trainer: Any, batches: Sequence[Tensors], denominator: float) -> list[torch.Tensor]:
    """The gradient of one optimizer step, by the trainer's own loss."""
    model = trainer.model
    model.zero_grad()
    for batch in batches:
        inputs = {**batch, "num_items_in_batch": torch.tensor(denominator)}
        trainer._compute_loss(model, inputs).backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]
