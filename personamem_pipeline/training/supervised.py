"""Supervised training on (prompt, completion) rows with transformers' `Trainer`; the loss is on completions only.

Both the pre-training of the tiny base and the SFT stage go through here. Rows are rendered by us, token by token, so that
what SFT teaches is exactly what GRPO and evaluation will ask for. TRL's `SFTTrainer` projects every prompt token to the
vocabulary, which here is four fifths of the work; padding prompts on the left and completions on the right lets the head
see completions only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from personamem_pipeline.stage import Interrupted, Progress

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
    learning_rate: float
    warmup_share: float
    max_grad_norm: float
    save_steps: int
    seed: int


def fit(
    model: Any,
    tokenizer: Any,
    rows: Sequence[TrainRow],
    config: FitConfig,
    scratch: Path,
    progress: Progress,
    *,
    on_log: Callable[[int, dict[str, float]], None] = lambda step, values: None,
) -> None:
    """Train `model` in place for `config.steps` optimizer steps; resume from the newest complete step in `scratch`."""
    dataset = Dataset.from_list(
        [
            {
                "prompt_ids": list(row.prompt_ids),
                "completion_ids": list(row.completion_ids),
                "length": len(row.prompt_ids) + len(row.completion_ids),
            }
            for row in rows
        ]
    )
    gpu = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(scratch),
        max_steps=config.steps,
        per_device_train_batch_size=config.batch_size,
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
    trainer = CompletionTrainer(
        model=model,
        args=arguments,
        train_dataset=dataset,
        processing_class=tokenizer,
        data_collator=Collator(tokenizer.pad_token_id),
        callbacks=[StopAndLog(progress, on_log, config.steps)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(scratch)))
    if progress.stop_requested and trainer.state.global_step < config.steps:
        raise Interrupted(f"saved step {trainer.state.global_step} of {config.steps} in {scratch}")


@dataclass(frozen=True)
class Collator:
    """Rows to a batch: prompts padded on the left, completions on the right, so that column P starts every completion."""

    pad_id: int

    def __call__(self, rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask` of shape (B, P + C) and `labels` of shape (B, C), `IGNORE` on padding."""
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
        return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask), "labels": torch.tensor(labels)}


class CompletionTrainer(Trainer):  # type: ignore[misc]
    """Cross-entropy over completions: the mean over rows of each row's token mean.

    Rows weigh the same, so that the one letter of a short answer is not drowned by the lines of long memories. Only
    completion positions reach the output head.
    """

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


class StopAndLog(TrainerCallback):  # type: ignore[misc]
    """Saves and stops on request, and passes the trainer's logs on."""

    def __init__(
        self, progress: Progress, on_log: Callable[[int, dict[str, float]], None], steps: int, watched: str = "loss"
    ) -> None:
        self.progress, self._on_log, self.steps, self.watched = progress, on_log, steps, watched

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> TrainerControl:
        if self.progress.stop_requested:
            control.should_save = control.should_training_stop = True
        return control

    def on_log(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        values = {key: float(value) for key, value in kwargs.get("logs", {}).items() if isinstance(value, (int, float))}
        if self.watched in values:
            self.progress.say("step %d/%d %s %.4f", state.global_step, self.steps, self.watched, values[self.watched])
        self._on_log(state.global_step, values)
