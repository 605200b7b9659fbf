"""The transformers generator (batched, cached keys and values) against a plain `model.generate` loop, sample by sample.

Then what could make it faster still, on its own: a static cache (fixed shapes) against the dynamic one, batches sorted by
length against one batch padded to the longest, and the trainer's own sampler (TRL's) beside it. All greedy with the same
policy (the trainer samples); replies are checked to be equal.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from benchmarks.grpo_setup import (
    BASE,
    MESSAGE,
    Part,
    grpo,
    middle,
    policy,
    population,
    renderer,
    text,
    timed,
    train,
    written,
)
from personamem_pipeline.memory.chunking import chunk_messages
from personamem_pipeline.memory.generators.transformers import TransformersGenerator, until_end
from personamem_pipeline.memory.prompts import write_prompt
from personamem_pipeline.presets import MemoryConfig, load_preset

Replies = list[list[int]]
LOOP = "loop of model.generate"


def measure(quick: bool, scratch: Path) -> Part:
    """Tokens per second of every way: prompts of one length, of very different lengths, and those of the demo preset."""
    samples, reply, longest = (4, 3, 2 * MESSAGE) if quick else (32, 48, 8 * MESSAGE)
    directory = scratch / "policy"
    policy(2048).save_pretrained(directory)
    renderer().tokenizer.save_pretrained(directory)
    made_up = {
        "equal lengths": [text(longest, "prompt", i) for i in range(samples)],
        "1 to 16": [text((1 + i * 5 % 16) * longest // 16, "prompt", i) for i in range(samples)],
    }
    lines = [["prompts", "way", "tokens/s", "times the loop"]]
    figures: dict[str, Any] = {}
    cases = {name: (directory, prompts, reply) for name, prompts in made_up.items()}
    for name, (where, prompts, cap) in {**cases, "demo preset": demo(2 * samples, 2 if quick else 8)}.items():
        found = compare(ways(where, prompts, cap, samples // 2), 1 if quick else 3)
        figures[name] = found
        for way, rates in found.items():
            ratios = [rate / loop for rate, loop in zip(rates, found[LOOP], strict=True)]
            lines.append([name, way, middle(rates, 0), f"{statistics.median(ratios):.2f}"])
    figures["trainer"] = sampler(quick, scratch)
    ratio = statistics.median(figures["trainer"]["ratios"])
    notes = (
        "Made-up prompts are answered up to the cap; the demo's replies end early, and a static cache is there for the cap.",
        f"The trainer's sampler (TRL's, one batch): {ratio:.2f} times the generator's tokens/s on the same prompts.",
    )
    return Part(
        f"(e) generating: {samples} replies of {reply} tokens, {2 * samples} of the demo", lines, figures, notes
    )


def demo(number: int, persons: int) -> tuple[Path, list[str], int]:
    """Writing prompts of the demo preset, for the base model, and their cap."""
    preset = load_preset("demo")
    histories, _ = written(persons)
    count = renderer().count
    chunks = [
        chunk
        for history in histories.values()
        for chunk in chunk_messages(history.messages, preset.memory.chunk_tokens, count)
    ]
    prompts = [write_prompt(preset.memory, chunk, "- art: oil painting") for chunk in chunks]
    return BASE, (prompts * number)[:number], preset.memory.memory_tokens


def ways(directory: Path, prompts: Sequence[str], reply: int, batch: int) -> dict[str, Callable[[], Replies]]:
    """Each way to generate, as a function that does it once."""
    generator = TransformersGenerator(directory, batch_size=batch)
    whole = TransformersGenerator(directory, batch_size=len(prompts))
    own = generator.renderer
    rows = [own.prompt_ids(prompt) for prompt in prompts]

    def plainly(rows: Sequence[Sequence[int]], cache: str | None = None) -> Replies:
        return plain(generator.model, rows, reply, own.pad_id, own.eos_id, cache)

    return {
        LOOP: lambda: [plainly([row])[0] for row in rows],
        f"generator, sorted batches of {batch}": lambda: replies(generator, prompts, reply),
        "generator, one batch": lambda: replies(whole, prompts, reply),
        "one batch, static cache": lambda: plainly(rows, "static"),
    }


def replies(generator: TransformersGenerator, prompts: Sequence[str], reply: int) -> Replies:
    return [list(made.token_ids) for made in generator.generate(prompts, max_tokens=reply)]


def plain(
    model: Any, rows: Sequence[Sequence[int]], reply: int, pad_id: int, eos_id: int, cache: str | None
) -> Replies:
    """`model.generate` as its documentation has it: greedy, padded on the left."""
    width = max(map(len, rows))
    ids = torch.tensor([[pad_id] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    config = GenerationConfig(
        max_new_tokens=reply, do_sample=False, eos_token_id=eos_id, pad_token_id=pad_id, cache_implementation=cache
    )
    with torch.inference_mode():
        out = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    return [until_end(row, eos_id) for row in out[:, width:].tolist()]


def compare(ways: dict[str, Callable[[], Replies]], rounds: int) -> dict[str, list[float]]:
    """Sampled tokens per second of each way and round. They take turns, and all must reply the same."""
    rates: dict[str, list[float]] = {way: [] for way in ways}
    expected: Replies | None = None
    for turn in range(rounds + 1):  # the first is a warm-up
        for way in list(ways)[:: 1 if turn % 2 else -1]:
            made, seconds = timed(ways[way])
            expected = expected or made
            if made != expected:
                differing = sum(one != other for one, other in zip(made, expected, strict=True))
                raise SystemExit(f"{way}: {differing} of {len(made)} replies differ")
            if turn:
                rates[way].append(sum(map(len, made)) / seconds)
    return rates


def sampler(quick: bool, scratch: Path) -> dict[str, Any]:
    """Tokens per second of the trainer's `_sample` and of the generator with the same weights; both sample at 1.0."""
    histories, questions = population(1, lambda _: 2 * MESSAGE, 1)
    memory = MemoryConfig(prompts="compact", chunk_tokens=2 * MESSAGE, max_chunks=1, memory_tokens=2, answer_tokens=2)
    config = grpo(prompts_per_step=1, rollouts=2, micro_batch_rows=2)
    trainer = train(policy(2048), histories, questions, config, memory, scratch).trainer
    trainer.model.save_pretrained(scratch / "trained")
    trainer.renderer.tokenizer.save_pretrained(scratch / "trained")
    samples, reply = (4, 3) if quick else (16, 48)
    generator = TransformersGenerator(scratch / "trained", batch_size=samples)
    prompts = [text(2 * MESSAGE if quick else 8 * MESSAGE, "sampler", i) for i in range(samples)]
    rows = [generator.renderer.prompt_ids(prompt) for prompt in prompts]
    rates: dict[str, list[float]] = {"trainer": [], "generator": []}
    for turn in range(2 if quick else 4):
        for way in list(rates)[:: 1 if turn % 2 else -1]:
            if way == "trainer":
                made, seconds = timed(lambda: trainer._sample(rows, reply, 1.0, 7)[0])
            else:
                generations, seconds = timed(
                    lambda: generator.generate(prompts, max_tokens=reply, temperature=1.0, seed=7)
                )
                made = [list(own.token_ids) for own in generations]
            if turn:
                rates[way].append(sum(map(len, made)) / seconds)
    ratios = [own / other for own, other in zip(rates["trainer"], rates["generator"], strict=True)]
    return {**rates, "ratios": ratios}
