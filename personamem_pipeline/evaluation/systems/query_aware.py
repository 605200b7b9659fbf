"""Writing in the form of the released scripts, with the question in sight and without: what the leak is worth.

Every released version of the writing prompt holds the problem, the user's query with its options, before the previous
memory and the next section of the chat (paper-spec 3). A person is then read as often as they are asked about, and no
assistant could do it: the question comes after the chat.

- `QueryAware` writes so: one memory per question.
- `QueryBlind` gets the same prompt without the problem: one memory per person. The two differ by the question alone, and
  so, answer by answer, does the leak's worth, whatever a model makes of a prompt that is not the one it learned.

As the scripts do it, too, the whole reply replaces the memory, cut where it runs into the cap. Not as they do it: chunks are
whole messages, not fixed numbers of tokens, and options stand without letters, because one memory answers all option orders
and a letter written down would be right in one of them. The caps are the preset's or the system's own (theirs: chunks of
5,000 tokens, memories of 1,024). The prompt lives here and not in `memory.prompts`, whose writing prompts have no place
for a question.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.asked import ask
from personamem_pipeline.evaluation.records import MemoryStep, Outputs
from personamem_pipeline.evaluation.source import Batch
from personamem_pipeline.evaluation.systems.base import Stopwatch, batch_seed, refuse_too_long
from personamem_pipeline.evaluation.systems.memory import Agent, last_memories
from personamem_pipeline.memory.chunking import Chunk, render_messages
from personamem_pipeline.memory.episode import plan_chunks
from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.memory.prompts import EMPTY, without_thinking
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.records import Message, Question
from personamem_pipeline.seeds import stable_int


@dataclass(frozen=True)
class _Form:
    """The released writing prompt in one style: its parts in their order."""

    task: str
    """What to do, where no problem is shown."""
    task_with_problem: str
    problem: str
    option: str
    rest: str
    """Previous memory, then section."""
    nothing: str
    """What stands for the memory before the first turn."""


_THINK = "\nThink first, inside <think> and </think>."
_FORMS = {
    "compact": _Form(
        task="",
        task_with_problem="",
        problem="Which fits? {query}{options}\n",
        option="\n{text}",
        rest="What does the user like?\nOld list:\n{memory}\n{chunk}\nMerge.",
        nothing=EMPTY,
    ),
    "full": _Form(
        task=(
            "You see the memory that you have kept so far and the next section of the current user's conversations. Study "
            "the section: who is this user, and what do they prefer, above all where they only imply it? Carry over what "
            "still holds of the old memory and add what is new. Reply with the memory alone, as bullet points in English "
            "that can be understood without anything else. Note down no answer options and no test questions.\n\n"
        ),
        task_with_problem=(
            "You see a query to be answered later, the memory that you have kept so far and the next section of the current "
            "user's conversations. Study the section with the query in mind: who is this user, and what do they prefer, "
            "above all where they only imply it? Carry over what still holds of the old memory and add what is new. Reply "
            "with the memory alone, as bullet points in English that can be understood without anything else. Note down no "
            "answer options and no test questions.\n\n"
        ),
        problem="<query>\n{query}{options}{think}\n</query>\n\n",
        option="\n- {text}",
        rest=(
            "<previous_memory>\n{memory}\n</previous_memory>\n\n<conversation_section>\n{chunk}\n</conversation_section>"
            "\n\nThe new memory:"
        ),
        nothing="There is no memory yet.",
    ),
}


@dataclass(frozen=True)
class _Reading:
    """One history to be read: whose memory comes of it, which problem stands in its prompts (empty: none)."""

    subject: str
    problem: str
    chunks: Sequence[Chunk]


@dataclass(frozen=True)
class _Released(Agent, ABC):
    """A model that writes by the released prompt."""

    def __post_init__(self) -> None:
        if self.config.protocol == "full_context":
            raise UserError(
                "under protocol full_context no memory is written, with or without the question in sight",
                where=f"system {self.name}",
                expected="a preset whose memory.protocol is memory",
                remedy=f"take {self.name} out of evaluation.systems",
            )

    @abstractmethod
    def _readings(self, batch: Batch) -> list[_Reading]:
        """What is read of a batch."""

    @abstractmethod
    def _subject(self, question: Question) -> str:
        """Whose memory answers a question."""

    def run(self, batch: Batch) -> Outputs:
        watch = Stopwatch()
        steps = self._write(self._readings(batch), batch_seed(batch))
        seconds = watch.lap()
        memories = last_memories(steps)
        return self.outputs(
            batch, lambda question: memories.get(self._subject(question), ""), steps=steps, write_seconds=seconds
        )

    def _chunks(self, messages: Sequence[Message]) -> list[Chunk]:
        return plan_chunks(messages, self.generator, self.config)

    def _write(self, readings: Sequence[_Reading], seed: int) -> tuple[MemoryStep, ...]:
        """All readings in lock step, as the causal writing advances all persons."""
        memories = ["" for _ in readings]
        steps: list[list[MemoryStep]] = [[] for _ in readings]
        for index in range(max((len(reading.chunks) for reading in readings), default=0)):
            active = [i for i, reading in enumerate(readings) if index < len(reading.chunks)]
            generations = self.generator.generate(
                [
                    writing_prompt(self.config, readings[i].problem, readings[i].chunks[index], memories[i])
                    for i in active
                ],
                max_tokens=self.config.memory_tokens,
                seed=stable_int(seed, "write", index),
            )
            refuse_too_long([generation.input_tokens for generation in generations], self.generator, self.config)
            for i, generation in zip(active, generations, strict=True):
                memories[i] = replaced(generation)
                steps[i].append(
                    MemoryStep(
                        subject=readings[i].subject,
                        index=index,
                        turns=tuple(message.turn_id for message in readings[i].chunks[index]),
                        memory=memories[i],
                        kept="",
                        input_tokens=generation.input_tokens,
                        output_tokens=generation.output_tokens,
                        memory_tokens=self.generator.count(memories[i]),
                    )
                )
        return tuple(step for own in steps for step in own)


class QueryAware(_Released):
    """One memory per question, written with the question in every prompt."""

    def _readings(self, batch: Batch) -> list[_Reading]:
        return [
            _Reading(question.question_id, problem(self.config, question, batch.seed), chunks)
            for person in batch.people
            for chunks in [self._chunks(person.history.messages)]
            for question in person.questions
        ]

    def _subject(self, question: Question) -> str:
        return question.question_id


class QueryBlind(_Released):
    """One memory per person, written by the same prompt without any question."""

    def _readings(self, batch: Batch) -> list[_Reading]:
        return [_Reading(person.person_id, "", self._chunks(person.history.messages)) for person in batch.people]

    def _subject(self, question: Question) -> str:
        return question.person_id


def writing_prompt(config: MemoryConfig, problem: str, chunk: Sequence[Message], memory: str) -> str:
    """The released writing prompt: the problem (none where it is empty), the previous memory, the section."""
    form = _FORMS[config.prompts]
    before, _, rest = form.rest.partition("{memory}")
    between, _, after = rest.partition("{chunk}")
    told = f"{before}{memory.strip() or form.nothing}{between}{render_messages(chunk)}{after}"
    return (form.task_with_problem if problem else form.task) + problem + told


def problem(config: MemoryConfig, question: Question, seed: int) -> str:
    """The question as a writing prompt shows it: query and options, in their first seeded order, without letters."""
    form = _FORMS[config.prompts]
    options = "".join(form.option.replace("{text}", text) for text in ask(question, seed, 0).options.values())
    before, _, rest = form.problem.partition("{query}")
    after = rest.partition("{options}")[2].replace("{think}", _THINK if config.reasoning else "")
    return before + question.user_query + options + after


def replaced(generation: Generation) -> str:
    """The memory after a reply, whatever the reply is: cut at its cap, or nothing. Only thoughts are left out."""
    written = without_thinking(generation.text).strip()
    return "" if written == EMPTY else written


def prompt_texts(style: str) -> str:
    """All template text of a style that is these systems' alone: part of what their replies are kept by."""
    form = _FORMS[style]
    return "\n".join((*vars(form).values(), _THINK))
