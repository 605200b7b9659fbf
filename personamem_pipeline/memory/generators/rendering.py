"""Token-level rendering of single-turn chats, the same for SFT, GRPO, evaluation and reading.

The chat template is rendered around a sentinel and split there, and a message's own text is tokenised with special
tokens switched off: `<|im_end|>` inside a user's message stays text and can never close the turn.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from personamem_pipeline.errors import UserError

_SENTINEL = "personamem-content-goes-here"
KEPT_COUNTS = 2**16


class Renderer:
    """Prompts to token ids and replies back to text, for one tokenizer (a `PreTrainedTokenizerBase`)."""

    def __init__(self, tokenizer: Any, *, where: str = "") -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise UserError(
                "the tokenizer has no chat template",
                where=where,
                expected="an instruction-tuned model's tokenizer (chat_template.jinja)",
                remedy="use a chat model, or add a chat template to the directory",
            )
        self.tokenizer = tokenizer
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": _SENTINEL}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,  # hybrids think when our prompts ask for it, and never by themselves
        )
        head, _, tail = text.partition(_SENTINEL)
        self.count = lru_cache(maxsize=KEPT_COUNTS)(self._count)
        """Length of a text in tokens, without any template. A group's rollouts all cut the same messages into chunks."""
        self._head = self._encode(head, special=True)
        self._tail = self._encode(tail, special=True)

    @property
    def template_tokens(self) -> int:
        """What the template adds to a prompt."""
        return len(self._head) + len(self._tail)

    @property
    def eos_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def pad_id(self) -> int:
        pad = self.tokenizer.pad_token_id
        return self.eos_id if pad is None else int(pad)

    def _encode(self, text: str, *, special: bool) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=not special))

    def _count(self, text: str) -> int:
        return len(self._encode(text, special=False))

    def prompt_ids(self, content: str) -> list[int]:
        """A single user message, up to where the assistant starts to write."""
        return [*self._head, *self._encode(content, special=False), *self._tail]

    def completion_ids(self, text: str) -> list[int]:
        """A reply as the model should write it, end token included."""
        return [*self._encode(text, special=False), self.eos_id]

    def text(self, token_ids: list[int]) -> str:
        """A reply's text without special tokens."""
        return str(self.tokenizer.decode(token_ids, skip_special_tokens=True))
