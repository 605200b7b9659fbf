"""A tiny checkpoint that vLLM can run on a CPU, and the environment it needs there.

Import this before vllm. vLLM's CPU attention knows head sizes from 32, so `tiny_model`'s is no use; and weights are drawn
wide, so that the model prefers some tokens: the differences that tests look for would drown in a uniform distribution.
"""

from __future__ import annotations

import os

os.environ.update(
    OMP_NUM_THREADS="1",
    VLLM_ENABLE_V1_MULTIPROCESSING="0",  # the engine in this process
    VLLM_CPU_KVCACHE_SPACE="1",  # GB
    VLLM_CPU_NUM_OF_RESERVED_CPU="0",
    VLLM_NO_USAGE_STATS="1",
    VLLM_LOGGING_LEVEL="WARNING",
    HF_HUB_OFFLINE="1",
)

from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from personamem_pipeline.training.tokenizer import build_tokenizer
from tests.tiny_model import TEXTS

CONTEXT = 512


def save_tiny(directory: Path) -> Path:
    """Save a random Qwen3 of 0.1M parameters, in float32, with its tokenizer."""
    tokenizer = build_tokenizer(TEXTS)
    torch.manual_seed(0)
    size: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "head_dim": 32}
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 2, "initializer_range": 0.2}
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        tie_word_embeddings=True,
        max_position_embeddings=CONTEXT,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **size,
        **heads,
    )
    Qwen3ForCausalLM(config).float().save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
