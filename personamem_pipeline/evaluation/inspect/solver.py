"""Answering a sample by one of the report's readings, through any model that Inspect can reach.

The names mean what they mean in the report. `full_context`: the whole chat before every question; `no_history`: nothing;
`memory`: the chat read chunk by chunk and the question answered from the memory alone; `oracle`: as `memory`, over the
evidence turns only. The writer is given messages and no sample: it cannot see a question.
"""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from weakref import WeakKeyDictionary

import anyio
from inspect_ai.model import ChatMessageUser, GenerateConfig, Model, ModelOutput, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.endpoint_generator import o200k_base
from personamem_pipeline.evaluation.inspect.dataset import Library
from personamem_pipeline.evaluation.inspect.provider import PersonaMemAPI
from personamem_pipeline.evaluation.systems.memory import evidence_turns
from personamem_pipeline.memory.chunking import chunk_messages
from personamem_pipeline.memory.episode import Known, next_memory, question_prompt
from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.memory.generators.find import PUBLISHED
from personamem_pipeline.memory.prompts import write_prompt
from personamem_pipeline.presets import MemoryConfig, load_preset
from personamem_pipeline.questions.options import LETTERS
from personamem_pipeline.records import Message

Protocol = Literal["full_context", "no_history", "oracle", "memory"]


@dataclass(frozen=True)
class Written:
    """A memory and its write turns."""

    memory: str = ""
    turns: tuple[dict[str, Any], ...] = ()


@dataclass
class Memories:
    """Memories of this run, each written once per model however many samples ask for it."""

    _shelves: WeakKeyDictionary[Model, dict[str, Written]] = field(default_factory=WeakKeyDictionary)
    _locks: dict[str, anyio.Lock] = field(default_factory=dict)

    async def of(self, subject: str, messages: Sequence[Message], model: Model, config: MemoryConfig) -> Written:
        """What `model` keeps of `messages`, which are known by `subject`."""
        shelf = self._shelves.setdefault(model, {})
        async with self._locks.setdefault(subject, anyio.Lock()):
            if subject not in shelf:
                shelf[subject] = await write(messages, model, config)
        return shelf[subject]


async def write(messages: Sequence[Message], model: Model, config: MemoryConfig) -> Written:
    """Read a chat chunk by chunk: the episode of `memory.episode`, through Inspect's interface."""
    memory, turns = "", []
    for chunk in chunk_messages(messages, config.chunk_tokens, counter(model)):
        prompt = write_prompt(config, chunk, memory)
        output = await model.generate(prompt, config=GenerateConfig(max_tokens=config.memory_tokens))
        memory, kept = next_memory(memory, generation(output))
        turns.append({"turns": [message.turn_id for message in chunk], "memory": memory, "kept": kept})
    return Written(memory, tuple(turns))


@solver
def reader(library: Library, protocol: Protocol, preset: str = "", answer_tokens: int | None = None) -> Solver:
    """Know the person as `protocol` says, then answer. The memory and its turns are left in the sample's store."""
    if protocol not in get_args(Protocol):
        raise UserError(
            f"no protocol is called {protocol!r}", where="-T protocol", expected=" or ".join(get_args(Protocol))
        )
    memories, fixed = Memories(), load_preset(preset).memory if preset else None

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        model = get_model()
        config = how_to_read(model, fixed, protocol)
        known = await _known(state, library, protocol, memories, model, config)
        options = dict(zip(LETTERS, (option.value for option in state.choices), strict=True)) if state.choices else None
        query = library.question(state.metadata["question_id"]).user_query
        prompt = question_prompt(config, known, query, options)
        state.messages = [ChatMessageUser(content=prompt)]
        return await generate(state, max_tokens=answer_tokens or config.answer_tokens)

    return solve


async def _known(
    state: TaskState, library: Library, protocol: Protocol, memories: Memories, model: Model, config: MemoryConfig
) -> Known:
    """What the answer rests on; of the sample, only whose it is (and, for the oracle, where its evidence is) is used."""
    if protocol == "no_history":
        return () if config.protocol == "full_context" else ""
    person = library.person(state.metadata["person_id"])
    subject, messages = person.person_id, person.history.messages
    if protocol == "oracle":
        question = library.question(state.metadata["question_id"])
        messages = evidence_turns(person, question)
        subject = " ".join((person.person_id, *question.evidence))
    if config.protocol == "full_context":
        return messages
    written = await memories.of(subject, messages, model, config)
    state.store.set("memory", written.memory)
    state.store.set("write_turns", list(written.turns))
    return written.memory


def how_to_read(model: Model, fixed: MemoryConfig | None, protocol: Protocol) -> MemoryConfig:
    """Prompts and sizes: the fixed ones; else a checkpoint's own, and for other models those of the paper."""
    config = fixed or (model.api.memory if isinstance(model.api, PersonaMemAPI) else PUBLISHED)
    return config.model_copy(update={"protocol": "full_context"}) if protocol == "full_context" else config


def counter(model: Model) -> Callable[[str], int]:
    """Lengths in the model's own tokens where it is local; elsewhere in those of OpenAI's models, which are alike."""
    return model.api.generator.count if isinstance(model.api, PersonaMemAPI) else lambda text: len(o200k_base()(text))


def generation(output: ModelOutput) -> Generation:
    """A reply of Inspect's as one of ours. Tokens that a server had in its cache were read all the same."""
    usage = output.usage
    read = (
        usage.input_tokens + (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
        if usage
        else 0
    )
    return Generation(
        prompt_ids=(),
        token_ids=(),
        text=output.completion,
        finished=output.stop_reason not in ("max_tokens", "model_length"),
        counted=(read, usage.output_tokens if usage else 0),
        refused=output.stop_reason == "content_filter",
    )
