"""What a prefix cache saves of reading prompts: chunk before memory against memory before chunk.

A pure count over the prompts of a group's rollouts, in the order in which they are asked: lock step, one write turn of all
rollouts after another, then the answers. As in vLLM (v1), prompts are cached in whole blocks of 16 tokens, a hit is the
longest chain of known blocks from the start, and the last token of a prompt is always computed. Nothing is evicted.

The memories are the same under both orders: those of real rollouts, or made-up ones with the published proportions.
With `--vllm` the same calls are timed on a real engine, and its own count of cached tokens stands beside ours.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from benchmarks.grpo_batches import demo
from benchmarks.grpo_setup import MESSAGE, Part, asked, made_up, policy, renderer, text, timed, words
from personamem_pipeline.memory.chunking import chunk_messages
from personamem_pipeline.memory.generators.base import Generator
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.prompts import answer_prompt, prompt_texts, write_prompt
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.questions.options import lettered
from personamem_pipeline.training.tokenizer import build_tokenizer

BLOCK = 16
Order = Literal["chunk_first", "memory_first"]
ORDERS: tuple[Order, Order] = ("memory_first", "chunk_first")
Calls = list[list[str]]
"""Prompts of each call of the generator."""
PUBLISHED = MemoryConfig(chunk_tokens=5000, max_chunks=8, memory_tokens=2048, answer_tokens=1024)
MEMORY = 900
"""Tokens of a memory to be expected of the published protocol, memory-rl.md 3.2 case B; its cap is 2,048."""


class PrefixCache:
    """Counts what a prefix cache without limit would save."""

    def __init__(self, block: int = BLOCK) -> None:
        self.block = block
        self.numbers: dict[tuple[int, tuple[int, ...]], int] = {}
        """(number of the block before, own tokens) -> own number."""

    def read(self, prompt: Sequence[int]) -> int:
        """Tokens of a prompt that were computed before; from then on all its whole blocks are known."""
        hit, parent, unbroken = 0, 0, True
        for start in range(0, len(prompt) - self.block + 1, self.block):
            key = (parent, tuple(prompt[start : start + self.block]))
            unbroken = unbroken and key in self.numbers and start + self.block < len(prompt)
            hit += self.block if unbroken else 0
            parent = self.numbers.setdefault(key, len(self.numbers) + 1)
        return hit


def measure(quick: bool, scratch: Path, vllm: str | None = None) -> Part:
    """Real rollouts of the demo preset, the published proportions, and a tenth of them where an engine runs."""
    lines = [["prompts of", "rollouts in a group", "order", "prompt tokens", "computed", "saved", "less to compute"]]
    figures: dict[str, Any] = {}
    shapes: dict[str, tuple[int, Renderer, dict[Order, Calls]]] = {}
    trained = demo(quick, scratch)
    shapes["demo preset"] = (
        trained.trainer.num_generations,
        renderer(),
        {order: replayed(trained, order) for order in ORDERS},
    )
    group, persons = (2, 1) if quick else (8, 2)
    full = Renderer(build_tokenizer([prompt_texts("full"), "user: assistant: " + " ".join(words())]))
    memory = PUBLISHED.model_copy(update={"chunk_tokens": 4 * MESSAGE, "max_chunks": 2}) if quick else PUBLISHED
    shapes["published shape"] = (
        group,
        full,
        {order: composed(memory, order, full, group, persons, MEMORY) for order in ORDERS},
    )
    for name, (size, own, calls) in shapes.items():
        found = {order: count(calls[order], own) for order in ORDERS}
        figures[name] = found
        less = found["memory_first"]["computed"] / found["chunk_first"]["computed"]
        for order in ORDERS:
            total, computed = found[order]["prompt"], found[order]["computed"]
            ratio = f"{less:.2f}" if order == "chunk_first" else ""
            lines.append([name, str(size), order, f"{total:,}", f"{computed:,}", f"{1 - computed / total:.0%}", ratio])
    notes = ["No time here: with --vllm it is measured on vLLM."]
    if vllm is not None:
        figures["vllm"], notes = on_vllm(vllm, quick, scratch)
    return Part("(d) prefill with a prefix cache: chunk first against memory first", lines, figures, tuple(notes))


def count(calls: Calls, own: Renderer) -> dict[str, int]:
    """Tokens of all prompts, and those of them that must be computed."""
    cache, total, saved = PrefixCache(), 0, 0
    for call in calls:
        for prompt in call:
            ids = own.prompt_ids(prompt)
            total += len(ids)
            saved += cache.read(ids)
    return {"prompt": total, "computed": total - saved}


def replayed(trained: Any, order: Order) -> Calls:
    """The calls of a real step's rollouts, with their own memories, prompts in the given order."""
    memory = trained.trainer.memory.model_copy(update={"order": order})
    rollouts = [scored.rollout for scored in trained.scored[-1]]
    calls: Calls = []
    for index in range(max(len(rollout.turns) for rollout in rollouts)):
        reading = [rollout for rollout in rollouts if index < len(rollout.turns)]
        before = [rollout.turns[index - 1].memory if index else "" for rollout in reading]
        calls.append(
            [
                write_prompt(memory, rollout.turns[index].chunk, known)
                for rollout, known in zip(reading, before, strict=True)
            ]
        )
    last = [rollout.turns[-1].memory if rollout.turns else "" for rollout in rollouts]
    calls.append(
        [
            answer_prompt(memory, known, item.question.user_query, item.options)
            for rollout, known in zip(rollouts, last, strict=True)
            for item in rollout.items
        ]
    )
    return calls


def composed(memory: MemoryConfig, order: Order, own: Renderer, group: int, persons: int, length: int) -> Calls:
    """Calls over made-up chats of 7 chunks, four questions each; every rollout and turn has a memory of its own."""
    memory = memory.model_copy(update={"order": order})
    names = [f"p{number}" for number in range(persons)]
    chats = [
        chunk_messages(made_up(name, 7 * memory.chunk_tokens).messages, memory.chunk_tokens, own.count)[
            : memory.max_chunks
        ]
        for name in names
    ]

    def known(name: str, rollout: int, turn: int) -> str:
        return lined(text(length, "memory", name, rollout, turn)) if turn else ""

    calls = [
        [
            write_prompt(memory, chunks[turn], known(name, rollout, turn))
            for name, chunks in zip(names, chats, strict=True)
            for rollout in range(group)
        ]
        for turn in range(max(map(len, chats)))
    ]
    answers = [
        answer_prompt(memory, known(name, rollout, len(chunks)), question.user_query, lettered(question, 0)[0])
        for name, chunks in zip(names, chats, strict=True)
        for rollout in range(group)
        for question in (asked(name, number) for number in range(4))
    ]
    return [*calls, answers]


def lined(memory: str, width: int = 12) -> str:
    """A text as a memory's lines."""
    found = memory.split(" ")
    return "\n".join("- " + " ".join(found[start : start + width]) for start in range(0, len(found), width))


def on_vllm(model: str, quick: bool, scratch: Path) -> tuple[dict[Order, dict[str, Any]], list[str]]:
    """Seconds, and the engine's own count, for a tenth of the published shape; `random` is a policy of the base's size.

    One token is sampled a prompt. Each pass starts from an empty cache, and the orders take turns.
    """
    from personamem_pipeline.memory.generators.vllm import VllmGenerator

    directory = Path(model)
    if model == "random":
        directory = scratch / "random"
        policy(2048).save_pretrained(directory)
        renderer().tokenizer.save_pretrained(directory)
    engine = VllmGenerator(directory, context=2048, memory=0.5)
    memory = MemoryConfig(
        prompts="compact", chunk_tokens=8 * MESSAGE, max_chunks=8, memory_tokens=200, answer_tokens=100
    )
    group, persons, rounds = (2, 1, 1) if quick else (8, 4, 3)
    calls = {order: composed(memory, order, engine.renderer, group, persons, MEMORY // 10) for order in ORDERS}
    found: dict[Order, dict[str, Any]] = {
        order: {**count(own, engine.renderer), "seconds": []} for order, own in calls.items()
    }
    for turn in range(rounds + 1):  # the first is a warm-up
        for order in ORDERS[:: 1 if turn % 2 else -1]:
            engine.llm.reset_prefix_cache()
            before = engine.prompt_tokens - engine.cached_tokens
            _, seconds = timed(partial(_read, engine, calls[order]))
            found[order]["computed by the engine"] = engine.prompt_tokens - engine.cached_tokens - before
            if turn:
                found[order]["seconds"].append(seconds)
    slow, fast = (found[order]["seconds"] for order in ORDERS)
    ratio = statistics.median(one / other for one, other in zip(slow, fast, strict=True))
    told = ", ".join(
        f"{order} {own['computed']:,} counted and {own['computed by the engine']:,} by the engine"
        for order, own in found.items()
    )
    return found, [
        f"On vLLM, a tenth of the published shape: memory first takes {ratio:.2f} times as long.",
        f"Prompt tokens computed: {told}.",
    ]


def _read(engine: Generator, calls: Calls) -> None:
    for call in calls:
        engine.generate(call, max_tokens=1)
