"""Floating-point operations of a decoder, counted like Kaplan et al. (arXiv 2001.08361, section 2.1): 2 per weight and
token, and 4 per token, layer, attention dimension and position looked at.

Symbols: h hidden, d head_dim, H heads, K kv_heads, f intermediate, V vocabulary, L layers. Only matrix products count;
norms, rotary embeddings, softmax and the activation are below one percent. A token attends to the positions up to its own,
which is half the square of PaLM's appendix B (arXiv 2204.02311), as causal kernels skip the other half.

Utilisation below is of hardware: what is computed again for gradient checkpointing counts. PaLM's model utilisation (MFU)
leaves it out, and is 3/4 of it here.
"""

from __future__ import annotations

from dataclasses import dataclass

from personamem_pipeline.presets import LoraConfig, ModelShape
from personamem_pipeline.training.cost_workload import Workload


def layer_weights(shape: ModelShape) -> int:
    """Weights of one layer's matrices: queries and output h·H·d each, keys and values h·K·d each, three of h·f."""
    attention = 2 * shape.hidden * (shape.heads + shape.kv_heads) * shape.head_dim
    return attention + 3 * shape.hidden * shape.intermediate


def parameters(shape: ModelShape) -> int:
    """All parameters, norms and embeddings included. Qwen3 has norms of h twice a layer and at the end, and of d twice."""
    norms = shape.layers * (2 * shape.hidden + 2 * shape.head_dim) + shape.hidden
    embeddings = shape.vocabulary * shape.hidden * (1 if shape.tied else 2)
    return shape.layers * layer_weights(shape) + norms + embeddings


def adapter_parameters(shape: ModelShape, lora: LoraConfig) -> int:
    """Of adapters on all seven matrices of every layer: rank times the sum of both sides (arXiv 2106.09685)."""
    query, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    sides = 2 * (shape.hidden + query) + 2 * (shape.hidden + kv) + 3 * (shape.hidden + shape.intermediate)
    return shape.layers * lora.rank * sides


def linear(shape: ModelShape) -> float:
    """Per token of a forward pass through all layers: 2 per weight."""
    return 2.0 * shape.layers * layer_weights(shape)


def attention(shape: ModelShape, start: float, end: float) -> float:
    """Of the tokens at positions `start` to `end` of one row: 4·L·H·d times the sum of the positions they look at."""
    return 4.0 * shape.layers * shape.heads * shape.head_dim * (end * end - start * start) / 2


def head(shape: ModelShape) -> float:
    """Per token that is projected to the vocabulary: 2·h·V. Only sampled tokens are."""
    return 2.0 * shape.hidden * shape.vocabulary


def forward(shape: ModelShape, work: Workload) -> float:
    """A forward pass over all rows, whole."""
    layers = work.sum(lambda turn: linear(shape) * turn.size + attention(shape, 0, turn.size))
    return layers + head(shape) * work.sampled_tokens


def training(shape: ModelShape, work: Workload, lora: LoraConfig | None, *, checkpointing: bool = True) -> float:
    """Forward and backward over all rows; a backward pass is two forward ones, for activations and for weights.

    With checkpointing the layers' forward pass runs twice. (torch leaves out the last matrix of each layer the second time,
    5 % of Qwen3-4B's operations; the usual count of four passes has it.) Frozen weights get no gradient, which saves LoRA
    one of the linear passes; its adapters cost their own four.
    """
    again = 1 if checkpointing else 0
    tokens, sampled = work.tokens, work.sampled_tokens
    squares = work.sum(lambda turn: attention(shape, 0, turn.size)) * (3 + again)
    if lora is None:
        return squares + (3 + again) * linear(shape) * tokens + 3 * head(shape) * sampled
    adapters = 2.0 * adapter_parameters(shape, lora) * (3 + again)
    return squares + ((2 + again) * linear(shape) + adapters) * tokens + 2 * head(shape) * sampled


def prefill(shape: ModelShape, work: Workload, *, prefix_cache: bool) -> float:
    """Reading all prompts before sampling."""

    def one(prompt: float, cached: float) -> float:
        return linear(shape) * (prompt - cached) + attention(shape, cached, prompt)

    return work.sum(lambda turn: one(turn.prompt, turn.cached if prefix_cache else 0.0))


def decode(shape: ModelShape, work: Workload) -> float:
    """Sampling all replies, a token at a time."""
    per_token = (linear(shape) + head(shape)) * work.sampled_tokens
    return per_token + work.sum(lambda turn: attention(shape, turn.prompt, turn.size))


@dataclass(frozen=True)
class Flops:
    """Of one optimizer step, over all GPUs."""

    prefill: float
    decode: float
    reference: float
    training: float

    @property
    def total(self) -> float:
        return self.prefill + self.decode + self.reference + self.training


def flops(
    shape: ModelShape, work: Workload, *, lora: LoraConfig | None, reference: bool, sampling: bool, prefix_cache: bool
) -> Flops:
    """One optimizer step: sampling where there is any, the starting model's forward pass where its distance is asked for,
    and training. The log-probabilities of the sampling policy cost nothing: the loss computes them anyway."""
    return Flops(
        prefill=prefill(shape, work, prefix_cache=prefix_cache) if sampling else 0.0,
        decode=decode(shape, work) if sampling else 0.0,
        reference=forward(shape, work) if reference else 0.0,
        training=training(shape, work, lora),
    )
