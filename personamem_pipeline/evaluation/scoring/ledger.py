"""What answers cost in tokens, the writing of the memories included, and from how many questions a memory pays.

Further option orders of a question are repeats of the measurement, not use, so reading is a mean per answer and writing
is divided by questions. Answers before a request to forget belong to the measurement, too, and are not counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from personamem_pipeline.evaluation.records import MemoryStep
from personamem_pipeline.evaluation.scoring.runs import SystemRun, at_the_end
from personamem_pipeline.presets import PricesConfig

BORROWED = "swapped_history"
"""The reading whose memories another system wrote and paid for: it has no cost of its own to report."""
PER_QUESTION = ("query_aware", "oracle")
"""Readings that write anew for each question, so that their writing grows with the questions."""
FULL = 0.95
"""A memory is at its cap from this share of it on: a writer stops at the end of a line, not at the last token."""


@dataclass(frozen=True)
class Cost:
    """Tokens of one system: writes in sum, reads per answered question."""

    questions: int
    people: int
    write_input: int
    write_output: int
    read_input: float
    read_output: float

    @property
    def read(self) -> float:
        return self.read_input + self.read_output

    @property
    def write(self) -> int:
        return self.write_input + self.write_output

    @property
    def per_question(self) -> float:
        return self.write / self.questions + self.read


def cost(run: SystemRun) -> Cost | None:
    """A system's tokens. None where they are not known: nobody counted any, or the memories are another system's.

    Prompts that were never sent (over the context, or refused) cost nothing and are left out of the mean, so that a
    system does not look cheap for the questions that it could not take.
    """
    answers = at_the_end(run.answers)
    read = [answer for answer in answers if not answer.problem]
    if run.reading == BORROWED or not any(answer.input_tokens + answer.output_tokens for answer in read):
        return None
    return Cost(
        questions=len({answer.question_id for answer in answers}),
        people=len({answer.person_id for answer in answers}),
        write_input=sum(step.input_tokens for step in run.steps),
        write_output=sum(step.output_tokens for step in run.steps),
        read_input=sum(answer.input_tokens for answer in read) / len(read),
        read_output=sum(answer.output_tokens for answer in read) / len(read),
    )


def ledger(systems: Mapping[str, SystemRun], prices: PricesConfig | None) -> list[dict[str, Any]]:
    """One row per system whose tokens are known. `write_share`: the writing's part of all tokens per question."""
    costs = {name: found for name, run in systems.items() if (found := cost(run)) is not None}
    whole = {run.model: costs[name] for name, run in systems.items() if run.reading == "full_context" and name in costs}
    return [
        {
            "system": name,
            "people": own.people,
            "write_turns": len(systems[name].steps),
            "kept": dict(sorted(Counter(step.kept for step in systems[name].steps if step.kept).items())),
            "write_input_tokens": own.write_input,
            "write_output_tokens": own.write_output,
            "write_tokens_per_person": own.write / own.people,
            "read_input_tokens_per_question": own.read_input,
            "read_output_tokens_per_question": own.read_output,
            "tokens_per_question": own.per_question,
            "write_share": own.write / own.questions / own.per_question,
            "dollars_per_question": _dollars(own, prices),
            "break_even_questions": _break_even(systems[name], own, whole.get(systems[name].model)),
            "memory": memory_sizes(systems[name].steps, systems[name].memory_cap),
        }
        for name, own in costs.items()
    ]


def break_even(write_per_person: float, read: float, full_read: float) -> int | None:
    """The smallest number of questions per person for which writing once and reading the memory takes fewer tokens than
    reading the whole chat for each.

    With W tokens to write a person's memory, r to read it for a question and f to read the chat, q questions cost W + q r
    against q f, so the memory is cheaper for every q > W / (f - r), and for none where r >= f (None). With the figures of
    a 32k history (W = 45,750 read, r = 2,300, f = 32,300; anchors.md F3) it is 2.
    """
    if read >= full_read:
        return None
    return math.floor(write_per_person / (full_read - read)) + 1


def _break_even(run: SystemRun, own: Cost, whole: Cost | None) -> int | None:
    """Against the same model's `full_context`. What writes for each question pays that with every question."""
    if whole is None or run.reading in ("full_context", "oracle"):
        return None
    if run.reading in PER_QUESTION:
        return break_even(0.0, own.per_question, whole.read)
    return break_even(own.write / own.people, own.read, whole.read)


def _dollars(own: Cost, prices: PricesConfig | None) -> float | None:
    if prices is None:
        return None
    sent = own.write_input / own.questions + own.read_input
    received = own.write_output / own.questions + own.read_output
    return (sent * prices.input + received * prices.output) / 1e6


def memory_sizes(steps: Sequence[MemoryStep], cap: int | None) -> dict[str, Any] | None:
    """How long the memories are at the end, in tokens: quantiles over subjects, as lengths that occur, and the share of
    them that fill at least `FULL` of the cap. None where no memory was written."""
    last: dict[str, MemoryStep] = {}
    for step in steps:
        if step.subject not in last or last[step.subject].index < step.index:
            last[step.subject] = step
    if not last:
        return None
    sizes = np.array([step.memory_tokens for step in last.values()])
    levels = (0, 25, 50, 75, 100)
    found = np.percentile(sizes, levels, method="inverted_cdf")
    return {
        "cap": cap,
        "quantiles": {str(level): int(size) for level, size in zip(levels, found, strict=True)},
        "at_cap_share": float(np.mean(sizes >= FULL * cap)) if cap else None,
    }
