"""GPUs by their data sheets, and how much of them training and sampling are taken to reach."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """One GPU."""

    name: str
    flops: float
    """Dense bfloat16 matrix operations per second (data sheets print twice this, with sparsity)."""
    bandwidth: float
    """Bytes per second of its memory."""
    memory: float
    """Bytes."""


DEVICES = {
    "h100": Device("H100 SXM", 989e12, 3.35e12, 80e9),
    "h200": Device("H200 SXM", 989e12, 4.8e12, 141e9),
    "a100": Device("A100 SXM 80GB", 312e12, 2.039e12, 80e9),
}


@dataclass(frozen=True)
class Efficiency:
    """Shares of the data sheet's figures; hardware utilisation, recomputation counted. Assumptions, not measurements."""

    train: float
    """Of the operations, in training and in the reference's forward pass."""
    prefill: float = 0.45
    bandwidth: float = 0.72
    """Of the memory's, in decoding with vLLM: gives memory-rl.md's 107 s (row B) and 290 s (row A)."""
    generate_floor: float = 0.03
    """Seconds per decoding step of `transformers.generate`, which starts every layer's kernels from Python."""
    other: float = 30.0
    """Seconds per step of GRPO for weight sync, judge and gaps."""


GOOD, CAREFUL = Efficiency(train=0.40), Efficiency(train=0.30)
"""memory-rl.md 3.2 gives both. For comparison: prime-rl reports 21.7 % MFU on one H100 at 16k, which with checkpointing is
29 % of hardware."""
