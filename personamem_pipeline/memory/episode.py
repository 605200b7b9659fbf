"""An episode: a model reads a chat chunk by chunk, keeps a memory, and answers from the memory alone.

    m_0 = nothing;  m_t = f(m_{t-1}, chunk_t);  answer = g(m_T, question)

`write_memories` takes no question: the writer cannot see one (promise 1 of the design). Many histories advance in lock
step, so that each turn is one batched call of the generator. Under `protocol: full_context` nothing is written, and the
answer is given from the whole chat: `answer = g(chat, question)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from personamem_pipeline.memory.chunking import Chunk, chunk_messages
from personamem_pipeline.memory.generators.base import Generation, Generator
from personamem_pipeline.memory.prompts import EMPTY, answer_prompt, chat_prompt, without_thinking, write_prompt
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.records import Message
from personamem_pipeline.seeds import stable_int

Known = str | Sequence[Message]
"""What an answer rests on: the memory's text, or the messages of the chat (`protocol: full_context`)."""


@dataclass(frozen=True)
class MemoryTurn:
    """One write turn: what the model saw, what it wrote, and the memory that resulted."""

    index: int
    chunk: Chunk
    prompt: str
    generation: Generation
    memory: str
    """The memory after the turn."""
    kept: str
    """Why the previous memory was kept (`empty` or `unfinished`); empty when the reply replaced it."""


def next_memory(previous: str, generation: Generation) -> tuple[str, str]:
    """The memory after a reply, and why the previous one was kept, if it was.

    An unfinished reply (cut by the token cap, or thinking that never closed) or an empty one changes nothing: a memory
    that was cut in the middle would look whole.
    """
    if not generation.finished:
        return previous, "unfinished"
    written = without_repeats(without_thinking(generation.text))
    if not written:
        return previous, "empty"
    return ("" if written == EMPTY else written), ""


def without_repeats(text: str) -> str:
    """The text without blank lines and without lines that already stand above: a memory says a thing once."""
    return "\n".join(dict.fromkeys(line.rstrip() for line in text.strip().splitlines() if line.strip()))


def plan_chunks(messages: Sequence[Message], generator: Generator, config: MemoryConfig) -> list[Chunk]:
    """The chunks of a history: whole messages, the model's own tokens. Over `max_chunks` is the caller's to handle."""
    if config.protocol == "full_context":
        return []
    return chunk_messages(messages, config.chunk_tokens, generator.count)


def read_chunks(
    histories: Sequence[Sequence[Message]],
    generator: Generator,
    config: MemoryConfig,
    *,
    temperature: float = 0.0,
    seed: int = 0,
) -> Iterator[tuple[int, MemoryTurn]]:
    """Read every history in lock step and yield (number of the history, turn) as soon as a turn is written.

    Nothing is generated before it is asked for: whoever stops iterating stops the model after the current batch.
    """
    chunks = [plan_chunks(messages, generator, config) for messages in histories]
    memories = ["" for _ in histories]
    for index in range(max(map(len, chunks), default=0)):
        active = [i for i, own in enumerate(chunks) if index < len(own)]
        prompts = [write_prompt(config, chunks[i][index], memories[i]) for i in active]
        replies = generator.generate(
            prompts, max_tokens=config.memory_tokens, temperature=temperature, seed=stable_int(seed, "write", index)
        )
        for i, prompt, reply in zip(active, prompts, replies, strict=True):
            memories[i], kept = next_memory(memories[i], reply)
            yield i, MemoryTurn(index, chunks[i][index], prompt, reply, memories[i], kept)


def write_memories(
    histories: Sequence[Sequence[Message]],
    generator: Generator,
    config: MemoryConfig,
    *,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[list[MemoryTurn]]:
    """Read every history and return its write turns, one list per history (empty for an empty history)."""
    turns: list[list[MemoryTurn]] = [[] for _ in histories]
    for i, turn in read_chunks(histories, generator, config, temperature=temperature, seed=seed):
        turns[i].append(turn)
    return turns


def final_memory(turns: Sequence[MemoryTurn]) -> str:
    """The memory after the last chunk; empty when nothing was read."""
    return turns[-1].memory if turns else ""


def known_after(turns: Sequence[MemoryTurn], messages: Sequence[Message], config: MemoryConfig) -> Known:
    """What the answers to a history's questions rest on, once its write turns are done."""
    return tuple(messages) if config.protocol == "full_context" else final_memory(turns)


def answer(
    known: Sequence[Known],
    queries: Sequence[str],
    options: Sequence[Mapping[str, str] | None],
    generator: Generator,
    config: MemoryConfig,
    *,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[Generation]:
    """Answer each query from what is known alone, in one batched call; order kept."""
    prompts = [
        question_prompt(config, own, query, lettered)
        for own, query, lettered in zip(known, queries, options, strict=True)
    ]
    return generator.generate(
        prompts, max_tokens=config.answer_tokens, temperature=temperature, seed=stable_int(seed, "answer")
    )


def question_prompt(config: MemoryConfig, known: Known, query: str, options: Mapping[str, str] | None) -> str:
    """The prompt of an answer turn, from a memory's text or from a chat's messages."""
    if isinstance(known, str):
        return answer_prompt(config, known, query, options)
    return chat_prompt(config, known, query, options)
