"""Low-rank adapters (LoRA, arXiv 2106.09685): put on before training, merged when a checkpoint is stored.

A stored checkpoint is a plain Hugging Face model, so that every reader, and the next stage, loads it as any other; the
steps that a stage resumes from keep the adapters alone. Merging works on a state dict, not on the model: under FSDP a
process holds only its shard of each matrix, while the gathered state dict is whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from peft import LoraConfig as PeftConfig
from peft import PeftModel, get_peft_model

from personamem_pipeline.memory.generators.transformers import TORCH_SEEDS
from personamem_pipeline.presets import LoraConfig
from personamem_pipeline.seeds import stable_int

_PREFIX = "base_model.model."
_ADAPTER = re.compile(r"\.lora_\w+\.\w+\.weight$")


def lora_config(config: LoraConfig) -> PeftConfig:
    """The configuration for peft: adapters on every linear layer but the output head."""
    return PeftConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def with_adapters(model: Any, config: LoraConfig, seed: int) -> PeftModel:
    """The model, frozen, with trainable adapters whose start depends on nothing but `seed`."""
    with torch.random.fork_rng():
        torch.manual_seed(stable_int(seed, "lora") % TORCH_SEEDS)
        return get_peft_model(model, lora_config(config))


def merged_state(model: PeftModel, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The plain model's whole state dict, from that of a model with adapters: W + alpha / r * B A.

    The sum is taken in float32 and rounded once, to the base weight's type. Adapters other than the active one (TRL
    keeps the start as one) are left out.
    """
    (active,) = model.active_adapters
    scale = model.peft_config[active].lora_alpha / model.peft_config[active].r
    merged: dict[str, torch.Tensor] = {}
    for name, weight in state.items():
        if _ADAPTER.search(name):
            continue
        module = name.removesuffix(".base_layer.weight")
        if module != name:
            down, up = (state[f"{module}.lora_{side}.{active}.weight"].float() for side in "AB")
            weight = (weight.float() + scale * (up @ down)).to(weight.dtype)
        merged[name.removeprefix(_PREFIX).replace(".base_layer.", ".")] = weight
    return merged
