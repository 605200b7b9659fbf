"""Reading one chat and watching the memory change: what `personamem read` shows.

The episode's turns, each with the memory as a document, what became of its lines, and what the turn cost in tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from personamem_pipeline.memory.chunking import render_messages
from personamem_pipeline.memory.document import Line, MemoryDocument, parse_bullets
from personamem_pipeline.memory.episode import MemoryTurn, read_chunks
from personamem_pipeline.memory.generators.base import Generator
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.records import Message


@dataclass(frozen=True)
class ReadTurn:
    """One chunk read, and the memory after it."""

    turn: MemoryTurn
    document: MemoryDocument
    new: frozenset[str]
    """Ids of the current lines that were not there before."""
    dropped: tuple[Line, ...]
    """Lines that were current before and are no longer."""
    free_text: tuple[str, ...]
    """What the memory says outside of bullets. It is no line of the document, yet the model reads it next time."""
    chat_tokens: int

    @property
    def read_tokens(self) -> int:
        """Length of the whole prompt: instructions, chunk and previous memory."""
        return len(self.turn.generation.prompt_ids)

    @property
    def written_tokens(self) -> int:
        return len(self.turn.generation.token_ids)


def read_chat(
    messages: Sequence[Message], generator: Generator, config: MemoryConfig, *, max_chunks: int | None = None
) -> Iterator[ReadTurn]:
    """Read a chat and yield every turn as it is written; at most `max_chunks`, or all."""
    document = MemoryDocument()
    for _, turn in islice(read_chunks([messages], generator, config), max_chunks):
        before = document
        if not turn.kept:
            document = before.rewritten(turn.memory, [message.turn_id for message in turn.chunk])
        then, now = {line.line_id for line in before.current}, {line.line_id for line in document.current}
        yield ReadTurn(
            turn=turn,
            document=document,
            new=frozenset(now - then),
            dropped=tuple(line for line in before.current if line.line_id not in now),
            free_text=tuple(
                line.strip() for line in turn.memory.splitlines() if line.strip() and not parse_bullets(line)
            ),
            chat_tokens=generator.count(render_messages(turn.chunk)),
        )
