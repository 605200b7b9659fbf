"""The seam between the memory agent and whatever runs the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Generation:
    """One reply. `token_ids` are exactly the sampled ids, the end token included when there is one."""

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    text: str
    """The reply without special tokens."""
    finished: bool
    """The model ended by itself; False means that the budget cut it off."""
    logprobs: tuple[float, ...] | None = None
    """Log-probability of each of `token_ids` as the engine sampled it; None where the engine is the trained model."""
    counted: tuple[int, int] | None = None
    """Tokens of prompt and reply as a server counted them, which does not show its ids; None: the ids are counted."""
    refused: bool = False
    """The server gave no reply: a content filter, or a request that it does not take."""
    seconds: float | None = field(default=None, compare=False)
    """How long the engine worked on the batch that this reply was in; None where it does not tell."""

    @property
    def input_tokens(self) -> int:
        return self.counted[0] if self.counted else len(self.prompt_ids)

    @property
    def output_tokens(self) -> int:
        return self.counted[1] if self.counted else len(self.token_ids)


class Generator(Protocol):
    """Anything that answers single-turn prompts in batches."""

    @property
    def context(self) -> int | None:
        """Most tokens of prompt and reply together; None: not known here, the server says so itself."""
        ...

    @property
    def template_tokens(self) -> int:
        """What the chat template adds to a prompt's own length."""
        ...

    def count(self, text: str) -> int:
        """Length of a text in the model's tokens, without any template."""
        ...

    def generate(
        self, prompts: Sequence[str], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Generation]:
        """One reply per prompt, order kept. Temperature 0 is greedy; otherwise draws depend only on `seed`."""
        ...


class Around:
    """Base of what stands around another generator and only changes how it is asked."""

    generator: Generator

    @property
    def context(self) -> int | None:
        return self.generator.context

    @property
    def template_tokens(self) -> int:
        return self.generator.template_tokens

    def count(self, text: str) -> int:
        return self.generator.count(text)


@runtime_checkable
class Closing(Protocol):
    """A generator whose engine goes on holding memory until it is told to end."""

    def close(self) -> None:
        """End the engine; nothing is generated afterwards."""
        ...
