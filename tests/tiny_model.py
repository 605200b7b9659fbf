"""A real checkpoint directory of a few kilobytes: a random Qwen3 with the tiny tokenizer."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
from pathlib import Path

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.training.tokenizer import build_tokenizer

TEXTS = ["user: I left my bamboo whisk.\n- drinks: green tea\n(a) You could try green tea. \\boxed{a} b c d none"]
MEMORY = MemoryConfig(prompts="compact", chunk_tokens=12, max_chunks=2, memory_tokens=6, answer_tokens=4)


def save_tiny(directory: Path) -> Path:
    """Save the model, its tokenizer and a passport with the protocol `MEMORY`."""
    tokenizer = build_tokenizer(TEXTS)
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    config = Qwen3Config(
        vocab_size=len(tokenizer), tie_word_embeddings=True, max_position_embeddings=1024, **size, **heads
    )
    directory.mkdir(parents=True, exist_ok=True)
    Qwen3ForCausalLM(config).float().save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    passport = {"stage": "grpo_checkpoint", "inputs": {}, "code_version": "test", "memory": MEMORY.model_dump()}
    (directory / "passport.json").write_text(json.dumps(passport))
    return directory
