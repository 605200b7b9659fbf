"""Cutting a history into chunks of whole messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from personamem_pipeline.records import Message

Chunk = tuple[Message, ...]


def render_messages(messages: Sequence[Message]) -> str:
    """The text of a chunk, one message after another: `role: content`."""
    return "\n".join(f"{message.role}: {message.content}" for message in messages)


def chunk_messages(messages: Sequence[Message], budget: int, count: Callable[[str], int]) -> list[Chunk]:
    """Pack messages, in order, into chunks of at most `budget` tokens of rendered text.

    Messages are never cut: one that alone is over the budget gets a chunk to itself. The concatenated chunks are
    exactly the messages. `count` gives a text's length in the reading model's own tokens.
    """
    if budget <= 0:
        raise ValueError(f"budget must be positive, not {budget}")
    chunks: list[Chunk] = []
    current: list[Message] = []
    used = 0
    for message in messages:
        size = count(render_messages([message])) + 1  # the line break that joins it to its neighbour
        if current and used + size > budget:
            chunks.append(tuple(current))
            current, used = [], 0
        current.append(message)
        used += size
    if current:
        chunks.append(tuple(current))
    return chunks
