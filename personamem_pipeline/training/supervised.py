"""Supervised training on (prompt, completion) rows with transformers' `Trainer`; the loss is on completions only.

Both the pre-training of the tiny base and the SFT stage go through here. Rows are rendered by us, token by token, so that
what SFT teaches is exactly what GRPO and evaluation will ask for. TRL's `SFTTrainer` projects every prompt token to the
vocabulary, which here is four fifths of the work; padding prompts on the left and completions on the right lets the head
see completions only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from transformers import PrinterCallback, Trainer, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler

from personamem_pipeline.errors import UserError
from personamem_pipeline.progress import Interrupted, Progress
from personamem_pipeline.training.callbacks import StopAndLog
from personamem_pipeline.training.ranks import plain_cpu
from personamem_pipeline.training.seen import RowsSeen
from personamem_pipeline.training.steps import last_step

IGNORE = -100


@dataclass(frozen=True)
class TrainRow:
    """One turn: what the model sees and what it should write, as token ids."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]


@dataclass(frozen=True)
class FitConfig:
    """Optimizer figures of one supervised run."""

    steps: int
    batch_size: int
    """Rows per optimizer step, over all processes."""
    learning_rate: float
    warmup_share: float
    max_grad_norm: float
    save_steps: int
    seed: int
    micro_batch_rows: int | None = None
    """Rows per forward pass of a process; None: all of its share. Changes memory and time, not the gradient."""
    processes: int = 1

    @property
    def rows_per_pass(self) -> int:
        return self.micro_batch_rows or self.batch_size // self.processes


def fit(
    model: Any,
    tokenizer: Any,
    rows: Sequence[TrainRow],
    config: FitConfig,
    scratch: Path,
    progress: Progress,
    *,
    on_log: Callable[[int, dict[str, float]], None] = lambda step, values: None,
) -> CompletionTrainer:
    """Train `model` in place for `config.steps` optimizer steps; resume from the newest complete step in `scratch`.

    With several processes each calls this, as `accelerate launch` does. Raises `Interrupted` after saving when a stop was
    asked for, and `UserError` when a loss or a gradient is no number. The trainer's `seen.steps` has the positions in
    `rows` of each optimizer step, those before a resumption included.
    """
    dataset = Dataset.from_list(
        [
            {
                "prompt_ids": list(row.prompt_ids),
                "completion_ids": list(row.completion_ids),
                "length": len(row.prompt_ids) + len(row.completion_ids),
                "row": place,
            }
            for place, row in enumerate(rows)
        ]
    )
    gpu = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(scratch),
        max_steps=config.steps,
        per_device_train_batch_size=config.rows_per_pass,
        gradient_accumulation_steps=config.batch_size // (config.processes * config.rows_per_pass),
        learning_rate=config.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=max(1, round(config.steps * config.warmup_share)),
        max_grad_norm=config.max_grad_norm,
        weight_decay=0.01,
        adam_beta2=0.98,  # runs are short
        logging_steps=max(1, config.steps // 50),
        save_steps=config.save_steps,
        save_total_limit=2,
        seed=config.seed,
        data_seed=config.seed,
        train_sampling_strategy="group_by_length",
        report_to=[],
        disable_tqdm=True,
        use_cpu=not gpu,
        bf16=gpu,
        gradient_checkpointing=gpu,
        remove_unused_columns=False,
    )
    plain_cpu(arguments)
    if arguments.world_size != config.processes:
        raise UserError(
            f"{arguments.world_size} processes were started, and the preset's batch is for {config.processes}",
            where="sft.processes",
            remedy=f"start it with `accelerate launch --num_processes {config.processes}`, or change the preset",
        )
    trainer = CompletionTrainer(
        model=model,
        args=arguments,
        train_dataset=dataset,
        processing_class=tokenizer,
        data_collator=Collator(tokenizer.pad_token_id),
        callbacks=[StopAndLog(progress, on_log, config.steps)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=last_step(scratch, config.processes))
    if trainer.state.global_step < config.steps:
        raise Interrupted(f"saved step {trainer.state.global_step} of {config.steps} in {scratch}")
    return trainer


@dataclass(frozen=True)
class Collator:
    """Rows to a batch: prompts padded on the left, completions on the right, so that column P starts every completion."""

    pad_id: int

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask` of shape (B, P + C) and `labels` of shape (B, C), `IGNORE` on padding; `row`, the
        places of the rows, of shape (B,)."""
        prompts, completions = [row["prompt_ids"] for row in rows], [row["completion_ids"] for row in rows]
        width, length = max(map(len, prompts)), max(map(len, completions))
        left = [width - len(ids) for ids in prompts]
        right = [length - len(ids) for ids in completions]
        ids = [
            [self.pad_id] * a + p + c + [self.pad_id] * b
            for a, p, c, b in zip(left, prompts, completions, right, strict=True)
        ]
        mask = [[0] * a + [1] * (width + length - a - b) + [0] * b for a, b in zip(left, right, strict=True)]
        labels = [c + [IGNORE] * b for c, b in zip(completions, right, strict=True)]
        batch = {"input_ids": ids, "attention_mask": mask, "labels": labels, "row": [row["row"] for row in rows]}
        return {name: torch.tensor(value) for name, value in batch.items()}


class CompletionTrainer(Trainer):  # type: ignore[misc]
    """Cross-entropy over completions: the mean over rows of each row's token mean.

    Rows weigh the same, so that the one letter of a short answer is not drowned by the lines of long memories. Only
    completion positions reach the output head. The rows of an optimizer step, and the gradient, are the same however they
    are split into micro-batches and over processes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A micro-batch's mean over rows is to be averaged over micro-batches; the other branch sums over tokens.
        self.model_accepts_loss_kwargs = False
        self.seen = RowsSeen()
        self.add_callback(self.seen)
        self._losses: list[torch.Tensor] = []
        self._rows: list[torch.Tensor] = []

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        labels = inputs["labels"]
        logits = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            logits_to_keep=labels.shape[1] + 1,
            use_cache=False,
        ).logits[:, :-1]
        losses = cross_entropy(logits.transpose(1, 2).float(), labels, ignore_index=IGNORE, reduction="none")
        return (losses.sum(1) / (labels != IGNORE).sum(1)).mean()

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Forward and backward of one micro-batch."""
        self._rows.append(inputs.pop("row"))
        loss: torch.Tensor = super().training_step(model, inputs, *args, **kwargs)
        self._losses.append(loss)
        return loss

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> LengthGroupedSampler:
        # Stock counts the rows of one process only, so that another number of processes would be another order.
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return LengthGroupedSampler(batch, lengths=list((train_dataset or self.train_dataset)["length"]))

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> float:
        """The gradient's norm before clipping. Called before the optimizer's step: the last place to refuse one.

        Loss and norm are those of all processes, so that all of them stop, and save, together.
        """
        norm = float(super()._get_grad_norm(model, grad_norm=grad_norm))
        loss = float(self.accelerator.reduce(torch.stack(self._losses).mean(), reduction="mean"))
        self._losses.clear()
        if math.isfinite(norm) and math.isfinite(loss):
            self.seen.add(self.accelerator.gather(torch.cat(self._rows).to(self.accelerator.device)).tolist())
            self._rows.clear()
            return norm
        done = self.state.global_step
        if done and done % self.args.save_steps:
            self._save_checkpoint(self.model, trial=None)
        raise UserError(
            f"step {done + 1}: the loss is {loss:.4g} and the norm of its gradient {norm:.4g}; the step was not taken",
            where=self.args.output_dir,
            expected="finite numbers",
            remedy="lower the learning rate or lengthen the warm-up; if it comes at step 1, look at the model and the "
            f"rows. {f'Step {done} is saved' if done else 'No step was done'}",
        )
