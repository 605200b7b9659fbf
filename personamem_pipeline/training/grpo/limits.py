"""What cannot work is refused before training starts: prompts without room in the model, histories of too many chunks.

Nothing is sampled for it. Every prompt of a run is known beforehand, but for the memories in it; those are taken to be full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from personamem_pipeline.errors import UserError
from personamem_pipeline.memory.chunking import Chunk, chunk_messages, render_messages
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.prompts import answer_prompt, chat_prompt, write_prompt
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.records import Message
from personamem_pipeline.training.grpo.curriculum import Item

Histories = Mapping[str, Sequence[Message]]
"""Person -> messages."""


@dataclass(frozen=True)
class SizedChunk:
    """What one write turn reads. `tokens` counts its messages one by one, as cutting does: joined they are no more."""

    messages: Chunk
    tokens: int


Chunked = Mapping[str, Sequence[SizedChunk]]
"""Person -> the chunks that are read one after another; none where answers rest on the whole chat."""


@dataclass(frozen=True)
class Turn:
    """The tokens of one turn at most, by what takes them."""

    where: str
    template: int
    read: int
    """A chunk, a question with its options, or a whole chat and a question."""
    memory: int
    """A full memory in the prompt."""
    reply: int
    remedy: str

    @property
    def total(self) -> int:
        return self.template + self.read + self.memory + self.reply


def chunk_histories(histories: Histories, count: Callable[[str], int], memory: MemoryConfig) -> Chunked:
    """Cut every history as the rollouts will; `count` gives a text's length in the model's own tokens."""
    chunked = {}
    for person, messages in histories.items():
        measure = cache(count)  # for one history: tokenizing is what this costs
        chunks = [] if memory.protocol == "full_context" else chunk_messages(messages, memory.chunk_tokens, measure)
        chunked[person] = [SizedChunk(c, sum(measure(render_messages([m])) + 1 for m in c)) for c in chunks]
    return chunked


def most_chunks(
    histories: Histories, count: Callable[[str], int], memory: MemoryConfig, *, chunked: Chunked | None = None
) -> int:
    """Write turns of the longest history; one of more than `memory.max_chunks` is refused.

    `chunked` (of `chunk_histories`) saves cutting the histories once more.
    """
    chunks = chunk_histories(histories, count, memory) if chunked is None else chunked
    person = max(chunks, key=lambda person: len(chunks[person]))
    longest = len(chunks[person])
    if longest > memory.max_chunks:
        raise UserError(
            f"{person}'s history has {longest} chunks, memory.max_chunks is {memory.max_chunks}",
            remedy="raise memory.max_chunks or memory.chunk_tokens in the preset",
        )
    return longest


def check_budgets(
    histories: Histories,
    items: Sequence[Item],
    renderer: Renderer,
    memory: MemoryConfig,
    context: int | None,
    *,
    chunked: Chunked | None = None,
) -> int:
    """The tokens of the longest turn that can come up, prompt and reply together: what an engine needs room for.

    Args:
        histories: of all persons that `items` ask about, at least.
        items: what is asked.
        renderer: counts as the model will see it, template and all.
        memory: the protocol.
        context: most tokens that the model was made for (`max_position_embeddings` in its config.json); None: unknown.
        chunked: of `chunk_histories`, where the caller has it.

    Raises:
        UserError: a turn does not fit `context`; it names the person or the question, the figures and what to change.
    """
    if memory.protocol == "full_context":
        turns = _full_answers(histories, items, renderer, memory)
    else:
        chunks = chunk_histories(histories, renderer.count, memory) if chunked is None else chunked
        turns = [*_writes(chunks, renderer, memory), *_answers(items, renderer, memory)]
    longest = max(turns, key=lambda turn: turn.total)
    if context is not None and longest.total > context:
        raise UserError(
            f"a prompt and its reply may take {longest.total} tokens, the model has room for {context}",
            where=longest.where,
            expected=f"{longest.template} of template + {longest.read} to read + {longest.memory} of memory + "
            f"{longest.reply} of reply <= {context}",
            remedy=longest.remedy,
        )
    return longest.total


def _writes(chunked: Chunked, renderer: Renderer, memory: MemoryConfig) -> list[Turn]:
    """One turn per chunk."""
    template = len(renderer.prompt_ids(write_prompt(memory, (), "")))  # with the word that stands for no memory
    turns = []
    for person, chunks in chunked.items():
        for number, chunk in enumerate(chunks):
            where, lower = f"{person}, chunk {number + 1}", "memory.chunk_tokens or memory.memory_tokens"
            if len(chunk.messages) == 1 and chunk.tokens > memory.chunk_tokens + 1:
                where += f": message {chunk.messages[0].turn_id} alone is over memory.chunk_tokens"
                lower = "memory.memory_tokens, shorten the message"
            remedy = f"lower {lower}, or start from a model with more room (base.path)"
            known = memory.memory_tokens if number else 0  # nothing is known before the first chunk
            turns.append(Turn(where, template, chunk.tokens, known, memory.memory_tokens, remedy))
    return turns


def _answers(items: Sequence[Item], renderer: Renderer, memory: MemoryConfig) -> list[Turn]:
    """One turn per question and form, from a full memory."""
    template = len(renderer.prompt_ids(answer_prompt(memory, "", "", None)))
    remedy = "lower memory.memory_tokens or memory.answer_tokens, or start from a model with more room (base.path)"
    turns = []
    for item in _forms(items):
        prompt = len(renderer.prompt_ids(answer_prompt(memory, "", item.question.user_query, item.options)))
        where = f"question {item.question.question_id}"
        turns.append(Turn(where, template, prompt - template, memory.memory_tokens, memory.answer_tokens, remedy))
    return turns


def _full_answers(histories: Histories, items: Sequence[Item], renderer: Renderer, memory: MemoryConfig) -> list[Turn]:
    """One turn per question and form, from the whole chat, which is counted once per person."""
    template = len(renderer.prompt_ids(chat_prompt(memory, (), "", None)))
    chat = cache(lambda person: renderer.count(render_messages(histories[person])))
    remedy = "read chunk by chunk (memory.protocol: memory), or start from a model with more room (base.path)"
    turns = []
    for item in _forms(items):
        prompt = len(renderer.prompt_ids(chat_prompt(memory, (), item.question.user_query, item.options)))
        person = item.question.person_id
        where = f"{person}'s whole chat and question {item.question.question_id}"
        turns.append(Turn(where, template, prompt - template + chat(person), 0, memory.answer_tokens, remedy))
    return turns


def _forms(items: Sequence[Item]) -> Iterator[Item]:
    """Each question once as multiple choice and once in the open form; the order of options changes no length."""
    yield from {(item.question.question_id, item.options is None): item for item in items}.values()
