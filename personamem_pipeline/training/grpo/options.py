"""Our preset in TRL's words."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from trl import GRPOConfig

from personamem_pipeline.presets import GrpoConfig
from personamem_pipeline.training.ranks import plain_cpu


def rows_per_step(config: GrpoConfig, most_writes: int) -> int:
    """Rows of one process and optimizer step at most: every answer, and every write turn of every memory."""
    return config.answers + config.answers // config.questions_per_memory * most_writes


def trl_config(config: GrpoConfig, scratch: Path, most_writes: int, engine: dict[str, Any]) -> GRPOConfig:
    """TRL's configuration: rows are its batch unit, and one optimizer step is one generation (exactly on-policy).

    Args:
        config: the preset's figures.
        scratch: where resumable steps go.
        most_writes: write turns of the longest history.
        engine: options of the sampling engine (`engine.trl_engine_options`).
    """
    micro_steps = math.ceil(rows_per_step(config, most_writes) / config.micro_batch_rows)
    gpu = torch.cuda.is_available()
    args = GRPOConfig(
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
        scale_rewards=config.scale_rewards,
        shuffle_dataset=False,  # the curriculum is the order
        logging_steps=1,
        logging_nan_inf_filter=False,
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
        ddp_find_unused_parameters=False,
        **engine,
    )
    plain_cpu(args)
    return args
