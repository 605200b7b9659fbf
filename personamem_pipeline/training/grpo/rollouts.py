"""Rollouts: the policy reads histories chunk by chunk and answers, all rollouts in lock step.

The episode loop is `memory.episode`, the very one that evaluation uses; here the generator is the trainer's own engine, and
the exact sampled token ids are kept, because they are what the gradient is taken of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from personamem_pipeline.memory.episode import MemoryTurn, answer, known_after, write_memories
from personamem_pipeline.memory.generators.base import Generation, Generator
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.generators.transformers import to_generation
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.records import Message
from personamem_pipeline.training.grpo.curriculum import Item

Sampled = tuple[list[list[int]], list[list[float]] | None]
"""(sampled ids, cut after the end token; their log-probabilities where the engine is not the trained model)."""
Sample = Callable[[list[list[int]], int, float, int], Sampled]
"""(prompt ids, token budget, temperature, seed) -> what was sampled."""


@dataclass(frozen=True)
class Rollout:
    """One memory and what was asked of it: the write turns, then the answers to its M questions."""

    turns: tuple[MemoryTurn, ...]
    items: tuple[Item, ...]
    answers: tuple[Generation, ...]


class PolicyGenerator:
    """The policy in training as a `Generator`. `limits.check_budgets` has made sure that every prompt fits."""

    context = None

    @property
    def template_tokens(self) -> int:
        return self.renderer.template_tokens

    def __init__(self, renderer: Renderer, sample: Sample) -> None:
        self.renderer, self.sample = renderer, sample

    def count(self, text: str) -> int:
        return self.renderer.count(text)

    def generate(
        self, prompts: Sequence[str], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Generation]:
        rows = [self.renderer.prompt_ids(prompt) for prompt in prompts]
        sampled, chances = self.sample(rows, max_tokens, temperature, seed)
        return [
            to_generation(self.renderer, row, ids, chances[i] if chances is not None else None)
            for i, (row, ids) in enumerate(zip(rows, sampled, strict=True))
        ]


def run_rollouts(
    blocks: Sequence[Sequence[Item]],
    histories: Sequence[Sequence[Message]],
    generator: Generator,
    config: MemoryConfig,
    *,
    temperature: float,
    seed: int,
    between: Callable[[], None] = lambda: None,
) -> list[Rollout]:
    """One rollout per block of items (repeat a block to get its group). The write turns see histories only, no item.

    `between` is called after the last write turn and before the answers: ranks that read shorter histories wait there.
    """
    turns = write_memories(histories, generator, config, temperature=temperature, seed=seed)
    between()
    asked = [
        (known_after(own, messages, config), item)
        for own, messages, block in zip(turns, histories, blocks, strict=True)
        for item in block
    ]
    replies = iter(
        answer(
            [known for known, _ in asked],
            [item.question.user_query for _, item in asked],
            [item.options for _, item in asked],
            generator,
            config,
            temperature=temperature,
            seed=seed,
        )
    )
    return [
        Rollout(tuple(own), tuple(block), tuple(islice(replies, len(block))))
        for own, block in zip(turns, blocks, strict=True)
    ]
