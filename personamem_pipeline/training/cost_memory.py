"""Bytes of one GPU while it trains and samples.

Full fine-tuning keeps float32 weights, gradients and both of Adam's moments, 16 bytes a parameter, sharded over the
processes by FSDP2 (ZeRO's accounting, arXiv 1910.02054, without its extra half-precision copy: layers are cast as they
are gathered). With low-rank adapters only those have gradients and moments; the frozen model is float32 as well.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from personamem_pipeline.presets import LoraConfig, ModelShape
from personamem_pipeline.training.cost_flops import adapter_parameters, layer_weights, parameters
from personamem_pipeline.training.cost_workload import Workload

FULL, HALF = 4, 2
"""Bytes of a float32 and of a bfloat16 number."""
HEAD_TILE = 4096 * 32768 * FULL
"""TRL's output head projects tiles of 4,096 tokens to 32,768 columns of the vocabulary (memory-rl.md 2.1)."""
LOGIT = 2 * (FULL + HALF)
"""Bytes of a logit in supervised training, which projects a whole micro-batch: bfloat16 and float32, and their gradients."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one GPU, by what they hold."""

    weights: float
    gradients: float
    optimizer: float
    reference: float
    """A second copy of the start, where the distance to it is asked for."""
    gathered: float
    """bfloat16 weights at hand: two layers and the embedding of a sharded model; all trainable ones of an unsharded one."""
    checkpoints: float
    """Each layer's input, kept for the backward pass: 2·L·h per token of a micro-batch."""
    layer: float
    """One layer computed again, with its gradients."""
    head: float
    engine: float
    """What the colocated engine takes: its weights, and keys and values of the rest."""

    @property
    def total(self) -> float:
        return float(sum(getattr(self, field.name) for field in fields(self)))


def key_value_bytes(shape: ModelShape) -> int:
    """Of one token in the engine's cache: keys and values of all layers in bfloat16."""
    return 2 * HALF * shape.layers * shape.kv_heads * shape.head_dim


def layer_bytes(shape: ModelShape) -> int:
    """Of one token in a layer's backward pass: its tensors once in bfloat16. Six of size h, four of queries (projected,
    normed, rotated, attended), four of keys and values, four of the MLP (gate, activated, up, and their product)."""
    query, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return HALF * (6 * shape.hidden + 4 * query + 4 * kv + 4 * shape.intermediate)


def training_memory(
    shape: ModelShape,
    work: Workload,
    *,
    micro_rows: int,
    processes: int,
    lora: LoraConfig | None,
    reference: bool,
    whole_logits: bool,
    engine: float,
) -> Memory:
    """With the longest rows in one micro-batch (`plan_micro_batches` puts them together, first of all).

    `whole_logits`: supervised training's head. `engine`: bytes that the colocated engine is given.
    """
    every = parameters(shape)
    trained = adapter_parameters(shape, lora) if lora else every
    layers = HALF * 2 * layer_weights(shape) + HALF * shape.vocabulary * shape.hidden
    cast = HALF * every if lora is None else 0  # autocast keeps its copies of trainable weights through a forward pass
    tokens = micro_rows * work.longest
    completions = micro_rows * max(turn.completion + 1 for turn in work.turns)
    return Memory(
        weights=FULL * (every + trained if lora else every) / processes,
        gradients=FULL * trained / processes,
        optimizer=2 * FULL * trained / processes,
        reference=FULL * every / processes if reference and lora is None else 0.0,
        gathered=layers if processes > 1 else cast,
        checkpoints=HALF * shape.layers * shape.hidden * tokens,
        layer=layer_bytes(shape) * tokens,
        head=LOGIT * completions * shape.vocabulary if whole_logits else HEAD_TILE,
        engine=engine,
    )
