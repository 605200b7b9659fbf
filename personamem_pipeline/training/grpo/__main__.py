"""The `grpo_checkpoint` stage: reinforcement learning of the agentic memory.

    python -m personamem_pipeline.training.grpo --job job.json

Starts from the SFT checkpoint. One optimizer step: `prompts_per_step` questions, `rollouts` memories of each history asked
about, `questions_per_memory` questions to each memory. Reward for final answers only (multiple choice by the option that is
stated, open answers by the judge behind the model endpoint).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOConfig

from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.generators.transformers import load_model
from personamem_pipeline.presets import GrpoConfig
from personamem_pipeline.questions.gather import read_histories, read_questions
from personamem_pipeline.questions.judge import EndpointJudge
from personamem_pipeline.stage import Interrupted, Progress, StageJob, StageResult, run_stage
from personamem_pipeline.store import Store
from personamem_pipeline.training.checkpoints import KIND, checkpoint_directory, drop_steps, save_checkpoint
from personamem_pipeline.training.grpo.curriculum import Item, curriculum
from personamem_pipeline.training.grpo.rollouts import PolicyGenerator
from personamem_pipeline.training.grpo.table import RolloutTable
from personamem_pipeline.training.grpo.trainer import MemoryGRPOTrainer, most_chunks
from personamem_pipeline.training.metrics import MetricsLog
from personamem_pipeline.training.rewards import choice_reward, judge_rewards
from personamem_pipeline.training.supervised import StopAndLog

Reward = Callable[..., list[float | None]]


def trl_config(config: GrpoConfig, scratch: Path, most_writes: int) -> GRPOConfig:
    """TRL's configuration: rows are its batch unit, and one optimizer step is one generation (exactly on-policy)."""
    rows = config.prompts_per_step * config.rollouts
    rows += rows // config.questions_per_memory * most_writes
    micro_steps = math.ceil(rows / config.micro_batch_rows)
    gpu = torch.cuda.is_available()
    return GRPOConfig(
        output_dir=str(scratch),
        max_steps=config.steps,
        per_device_train_batch_size=config.micro_batch_rows,
        gradient_accumulation_steps=micro_steps,
        steps_per_generation=micro_steps,
        num_generations=config.rollouts,
        num_iterations=1,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=config.warmup_steps,
        max_grad_norm=config.max_grad_norm,
        temperature=config.temperature,
        beta=config.beta,
        epsilon=config.epsilon_low,
        epsilon_high=config.epsilon_high,
        loss_type="dapo",  # the only family whose denominator is global: see rows.py
        scale_rewards="none",
        shuffle_dataset=False,  # the curriculum is the order
        logging_steps=1,
        save_steps=config.save_steps,
        save_total_limit=2,
        seed=config.seed,
        data_seed=config.seed,
        report_to=[],
        disable_tqdm=True,
        use_cpu=not gpu,
        bf16=gpu,
        gradient_checkpointing=gpu,
        remove_unused_columns=False,
    )


def reward_functions(items: Sequence[Item], judge: EndpointJudge) -> list[Reward]:
    """Two rewards; each answers None for the other's rows, which TRL leaves out."""

    def choice(prompts: Any, completions: list[str], item: list[int], **_: Any) -> list[float | None]:
        tasks = [items[index] for index in item]
        return [
            choice_reward(text, task.options, task.letter) if task.options and task.letter else None
            for task, text in zip(tasks, completions, strict=True)
        ]

    def open_ended(prompts: Any, completions: list[str], item: list[int], **_: Any) -> list[float | None]:
        tasks = [items[index] for index in item]
        return judge_rewards(tasks, completions, judge)

    return [choice, open_ended]


def main(job: StageJob, progress: Progress) -> StageResult:
    """Train; see the module's docstring."""
    store, config, memory = Store(job.store), job.preset.grpo, job.preset.memory
    version = job.inputs["training_dataset"]
    histories = {h.person_id: h.messages for h in read_histories(store, "training_dataset", version)}
    items = curriculum(read_questions(store, "training_dataset", version), config)
    model, tokenizer = load_model(checkpoint_directory(job, "sft_checkpoint"))
    renderer = Renderer(tokenizer)
    scratch = job.scratch_directory()
    most_writes = most_chunks(histories, PolicyGenerator(renderer, _never), memory)
    log, table = MetricsLog(job, "grpo"), RolloutTable(scratch / "rollouts.jsonl")
    judge = EndpointJudge.configured(config.seed)
    trainer = MemoryGRPOTrainer(
        model=model.train(),
        args=trl_config(config, scratch, most_writes),
        train_dataset=Dataset.from_list(
            [{"prompt": item.question.user_query, "item": i} for i, item in enumerate(items)]
        ),
        reward_funcs=reward_functions(items, judge),
        items=items,
        histories=histories,
        memory=memory,
        renderer=renderer,
        aggregation=config.aggregation,
        answers_per_step=config.prompts_per_step * config.rollouts,
        questions_per_memory=config.questions_per_memory,
        on_rollouts=table.add,
        callbacks=[StopAndLog(progress, log, config.steps, watched="reward")],
    )
    trainer.remove_callback(PrinterCallback)
    progress.say(
        "%d steps of %d questions, %d rollouts of each; up to %d chunks and %d questions per memory",
        config.steps,
        config.prompts_per_step,
        config.rollouts,
        most_writes,
        config.questions_per_memory,
    )
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(scratch)))
    if progress.stop_requested and trainer.state.global_step < config.steps:
        raise Interrupted(f"saved step {trainer.state.global_step} of {config.steps} in {scratch}")
    checkpoint = save_checkpoint(
        job, model, tokenizer, config, {"judge": judge.name, "steps": config.steps, "reward": ["choice", "open_ended"]}
    )
    drop_steps(scratch)
    return StageResult(
        kind=KIND,
        version=checkpoint,
        metrics={"reward": log.last("reward"), "entropy": log.last("entropy"), "write_turns": most_writes},
        paths={
            "checkpoint": str(store.path(KIND, checkpoint)),
            "curves": str(log.plot("reward", "memory/mean_length", "entropy")),
            "metrics": str(log.path),
            "rollouts": str(table.path),
        },
    )


def _never(rows: list[list[int]], max_tokens: int, temperature: float, seed: int) -> list[list[int]]:
    raise AssertionError("counting tokens samples nothing")


if __name__ == "__main__":
    run_stage(main)
