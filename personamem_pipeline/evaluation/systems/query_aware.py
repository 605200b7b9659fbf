"""Writing a memory while looking at the question, as the released scripts do: the leak, to measure what it is worth.

Every question gets a reading of its own, with the user's query and the options in every writing prompt (paper-spec 3). A
person is then read as often as they are asked about, and no assistant could do it: the question comes after the chat.

The prompt is the causal one with the question in front of it and not a word changed, so that the paired difference between
this system and the causal one is the question's doing. Options stand without letters: one memory answers all option orders,
and a letter written down would be right in one of them. The prompt lives here and not in `memory.prompts`, whose writing
prompt has no place for a question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.asked import ask
from personamem_pipeline.evaluation.records import MemoryStep, Outputs
from personamem_pipeline.evaluation.source import Batch
from personamem_pipeline.evaluation.systems.base import Stopwatch, batch_seed
from personamem_pipeline.evaluation.systems.memory import Agent, last_memories
from personamem_pipeline.memory.episode import next_memory, plan_chunks
from personamem_pipeline.memory.prompts import write_prompt
from personamem_pipeline.records import Message, Question
from personamem_pipeline.seeds import stable_int

_SEEN = {
    "compact": ("Which fits? {query}{options}\n", "\n{text}"),
    "full": (
        "Later the user will ask what follows, with these replies to choose from. Read and note with that in mind; do not "
        "answer yet.\n\nThe user asks: {query}{options}\n\n",
        "\n- {text}",
    ),
}
"""Style -> what stands in front of the writing prompt, and the form of one option."""


@dataclass(frozen=True)
class QueryAware(Agent):
    """A model that writes one memory per question, seeing the question, and answers from it."""

    def __post_init__(self) -> None:
        if self.config.protocol == "full_context":
            raise UserError(
                "under protocol full_context no memory is written, with or without the question in sight",
                where=f"system {self.name}",
                expected="a preset whose memory.protocol is memory",
                remedy="take query_aware out of evaluation.systems",
            )

    def run(self, batch: Batch) -> Outputs:
        watch = Stopwatch()
        steps = self._write(batch)
        seconds = watch.lap()
        memories = last_memories(steps)
        return self.outputs(
            batch, lambda question: memories.get(question.question_id, ""), steps=steps, write_seconds=seconds
        )

    def _write(self, batch: Batch) -> tuple[MemoryStep, ...]:
        """All questions of the batch in lock step, as the causal writing advances all persons."""
        readings = [
            (question, question_seen(self.config.prompts, question, batch.seed), chunks)
            for person in batch.people
            for chunks in [plan_chunks(person.history.messages, self.generator, self.config)]
            for question in person.questions
        ]
        memories = ["" for _ in readings]
        steps: list[list[MemoryStep]] = [[] for _ in readings]
        for index in range(max((len(chunks) for *_, chunks in readings), default=0)):
            active = [i for i, (*_, chunks) in enumerate(readings) if index < len(chunks)]
            generations = self.generator.generate(
                [self._prompt(readings[i][1], readings[i][2][index], memories[i]) for i in active],
                max_tokens=self.config.memory_tokens,
                seed=stable_int(batch_seed(batch), "write", index),
            )
            for i, generation in zip(active, generations, strict=True):
                question, _, chunks = readings[i]
                memories[i], kept = next_memory(memories[i], generation)
                steps[i].append(
                    MemoryStep(
                        subject=question.question_id,
                        index=index,
                        turns=tuple(message.turn_id for message in chunks[index]),
                        memory=memories[i],
                        kept=kept,
                        input_tokens=generation.input_tokens,
                        output_tokens=generation.output_tokens,
                        memory_tokens=self.generator.count(memories[i]),
                    )
                )
        return tuple(step for own in steps for step in own)

    def _prompt(self, seen: str, chunk: Sequence[Message], memory: str) -> str:
        return seen + write_prompt(self.config, chunk, memory)


def question_seen(style: str, question: Question, seed: int) -> str:
    """The question as it stands in front of a writing prompt: options in their first seeded order, without letters."""
    frame, form = _SEEN[style]
    options = "".join(form.replace("{text}", text) for text in ask(question, seed, 0).options.values())
    before, _, rest = frame.partition("{query}")
    after = rest.partition("{options}")[2]
    return before + question.user_query + options + after


def prompt_texts(style: str) -> str:
    """All template text of a style that is this system's alone: part of what its replies are kept by."""
    return "\n".join(_SEEN[style])
