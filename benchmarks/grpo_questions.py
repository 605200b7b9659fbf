"""Several questions per memory against a memory of its own for each question, for the same number of answers.

One optimizer step of the whole trainer each: sampling, rewards, rows, loss, optimizer. M = 1 is MemAgent's rule; with M = 4
a group's histories are read once for four questions, so that a fourth of the write turns is sampled and trained on.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.grpo_setup import MESSAGE, Part, Trained, grpo, middle, policy, population, train, written
from personamem_pipeline.memory.generators.transformers import load_model
from personamem_pipeline.presets import MemoryConfig, load_preset

QUESTIONS = 4


def measure(quick: bool, scratch: Path) -> Part:
    """On the demo preset's persons, and on made-up chats with memories as long as they may be."""
    lines = [
        ["data", "questions per memory", "sampled tokens", "trained tokens", "s a step", "generating", "4 against 1"]
    ]
    figures: dict[str, Any] = {}
    runs: dict[str, Callable[[int], Trained]] = {
        "demo preset": lambda each: demo(each, quick, scratch),
        "made-up, full memories": lambda each: longer(each, quick, scratch),
    }
    for name, run in runs.items():
        found: dict[int, list[dict[str, float]]] = {1: [], QUESTIONS: []}
        for turn in range(1 if quick else 3):
            for each in (1, QUESTIONS)[:: 1 if turn % 2 else -1]:
                found[each].append(figures_of(run(each)))
        ratios = [one["seconds"] / other["seconds"] for one, other in zip(found[1], found[QUESTIONS], strict=True)]
        figures[name] = {"runs": {str(each): own for each, own in found.items()}, "speed-up": ratios}
        for each, own in found.items():
            told = [middle([run[key] for run in own], 0) for key in ("sampled", "trained")]
            share = statistics.median(run["generating"] for run in own)
            speed = f"{statistics.median(ratios):.2f}" if each == QUESTIONS else ""
            lines.append([name, str(each), *told, middle([run["seconds"] for run in own]), f"{share:.0%}", speed])
    return Part("(c) four questions per memory against four memories, the same number of answers", lines, figures)


def demo(each: int, quick: bool, scratch: Path) -> Trained:
    """Steps with real sentences and the base model's replies, which are short."""
    preset = load_preset("demo")
    histories, questions = written(2 if quick else 8)
    size = {"prompts_per_step": 4, "rollouts": 2} if quick else {"prompts_per_step": 16, "rollouts": 8}
    config = grpo(
        steps=2 if quick else 4, questions_per_memory=each, micro_batch_rows=4 if quick else 16, temperature=0.7, **size
    )
    model, _ = load_model(Path(preset.base.path), training=True)
    return train(model, histories, questions, config, preset.memory, scratch)


def longer(each: int, quick: bool, scratch: Path) -> Trained:
    """Steps with chats of four chunks and full memories: the proportions of 5k chunks, 2k memories, scaled down."""
    chunk = (1 if quick else 8) * MESSAGE
    histories, questions = population(2, lambda _: 4 * chunk, QUESTIONS)
    cap = 8 if quick else 48
    memory = MemoryConfig(
        prompts="compact", chunk_tokens=chunk, max_chunks=4, memory_tokens=cap, answer_tokens=cap // 2
    )
    config = grpo(
        steps=2 if quick else 3, prompts_per_step=4 if quick else 8, questions_per_memory=each,
        rollouts=2 if quick else 4, micro_batch_rows=4,
    )  # fmt: skip
    return train(policy(2048), histories, questions, config, memory, scratch, full_memories=True)


def figures_of(trained: Trained) -> dict[str, float]:
    """Tokens and seconds of a step, medians over the steps but the first."""
    sampled, rows = [], []
    for scored in trained.scored[1:]:
        generations = [
            generation
            for own in scored
            for generation in (*(turn.generation for turn in own.rollout.turns), *own.rollout.answers)
        ]
        sampled.append(sum(len(generation.token_ids) for generation in generations))
        rows.append(len(generations))
    generate, learn = trained.logged("time/generate")[1:], trained.logged("time/train")[1:]
    return {
        "sampled": statistics.median(sampled),
        "trained": statistics.median(trained.logged("tokens/step")[1:]),
        "rows": statistics.median(rows),
        "seconds": statistics.median(trained.seconds[1:]),
        "generating": statistics.median(own / (own + other) for own, other in zip(generate, learn, strict=True)),
    }
