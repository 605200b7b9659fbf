"""Seconds and peak memory of one optimizer step as histories grow: linear in write turns, and flat.

A step reads every history in chunks of 512 tokens, so that a history twice as long is twice as many write turns to sample
and twice as many rows of the same length to train on. The line is least squares; peak memory is this process's high-water
mark, reset before each step.
"""

from __future__ import annotations

import gc
import statistics
from pathlib import Path
from typing import Any

from benchmarks.grpo_setup import MESSAGE, Part, grpo, middle, peak_memory, policy, population, train
from personamem_pipeline.presets import MemoryConfig

CHUNK = 8 * MESSAGE


def measure(quick: bool, scratch: Path) -> Part:
    """Histories of 4k to 32k tokens, shortest first in every round."""
    chunk, cap = (MESSAGE, 4) if quick else (CHUNK, 32)
    lengths = [2 * chunk, 4 * chunk] if quick else [4096, 8192, 16384, 32768]
    rounds = 1 if quick else 2
    found: dict[int, dict[str, list[float]]] = {
        length: {"seconds": [], "peak_mb": [], "generating": []} for length in lengths
    }
    step(lengths[0], chunk, cap, scratch)  # a warm-up
    for _ in range(rounds):
        for length in lengths:
            for name, value in step(length, chunk, cap, scratch).items():
                found[length][name].append(value)
    chunks = [length / chunk for length in lengths]
    seconds = [statistics.median(found[length]["seconds"]) for length in lengths]
    peaks = [statistics.median(found[length]["peak_mb"]) for length in lengths]
    slope, intercept = statistics.linear_regression(chunks, seconds)
    line = {
        "seconds_per_chunk": slope,
        "seconds_at_none": intercept,
        "r2": statistics.correlation(chunks, seconds) ** 2,
    }
    lines = [["history, tokens", "write turns", "s a step", "s a write turn", "generating", "peak MB"]]
    for length, turns, spent in zip(lengths, chunks, seconds, strict=True):
        own = found[length]
        share = f"{statistics.median(own['generating']):.0%}"
        lines.append(
            [f"{length:,}", f"{turns:.0f}", f"{spent:.2f}", f"{spent / turns:.3f}", share, middle(own["peak_mb"], 0)]
        )
    notes = (
        f"Seconds = {intercept:.2f} + {slope:.3f} x write turns, R2 = {line['r2']:.5f}.",
        f"Peak memory grows by {(peaks[-1] - peaks[0]) / (chunks[-1] - chunks[0]) * 1024:.0f} kB a write turn.",
    )
    figures: dict[str, Any] = {"steps": {str(length): own for length, own in found.items()}, "line": line}
    return Part("(f) one step as the history grows, 512 tokens a chunk", lines, figures, notes)


def step(length: int, chunk: int, cap: int, scratch: Path) -> dict[str, float]:
    """One optimizer step over one person's history, memories as long as they may be."""
    gc.collect()
    histories, questions = population(1, lambda _: length, 2)
    memory = MemoryConfig(
        prompts="compact", chunk_tokens=chunk, max_chunks=length // chunk, memory_tokens=cap, answer_tokens=cap
    )
    config = grpo(prompts_per_step=2, questions_per_memory=2, rollouts=2, micro_batch_rows=4)
    with peak_memory() as peak:
        trained = train(policy(2048), histories, questions, config, memory, scratch, full_memories=True)
        most = peak()
    generate, learn = trained.logged("time/generate")[0], trained.logged("time/train")[0]
    return {"seconds": trained.seconds[0], "peak_mb": most, "generating": generate / (generate + learn)}
