"""A generator that says what a function tells it to: for tests of everything around the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from personamem_pipeline.memory.generators.base import Generation


class ScriptedGenerator:
    """Replies with `reply(prompt)`; a reply over `max_tokens` words is cut and unfinished, as a model's would be."""

    template_tokens = 0

    def __init__(self, reply: Callable[[str], str], context: int | None = None) -> None:
        self.reply = reply
        self.context = context
        self.prompts: list[str] = []

    def count(self, text: str) -> int:
        return len(text.split())

    def generate(
        self, prompts: Sequence[str], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Generation]:
        self.prompts.extend(prompts)
        return [self._one(prompt, max_tokens) for prompt in prompts]

    def _one(self, prompt: str, max_tokens: int) -> Generation:
        text = self.reply(prompt)
        finished = self.count(text) <= max_tokens
        ids = tuple(range(min(self.count(text), max_tokens)))
        return Generation(tuple(range(self.count(prompt))), ids, text, finished)
