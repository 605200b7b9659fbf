"""Which question is asked in which optimizer step: fixed before training starts, from the seed alone.

Every step holds the same share of open-ended questions, option orders are drawn once per appearance (so that a whole group
of rollouts sees the same letters), and every question is asked once before any is asked again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from personamem_pipeline.presets import GrpoConfig
from personamem_pipeline.questions.options import lettered
from personamem_pipeline.records import Question
from personamem_pipeline.seeds import rng

RowT = TypeVar("RowT")


@dataclass(frozen=True)
class Item:
    """One group's task: a question about one person's history, as multiple choice or open-ended."""

    question: Question
    options: dict[str, str] | None
    """Letter -> text; None for the open form."""
    letter: str | None
    """The right letter; None for the open form."""


def curriculum(questions: Sequence[Question], config: GrpoConfig) -> list[Item]:
    """`steps * prompts_per_step` items in the order of training."""
    open_per_step = round(config.open_share * config.prompts_per_step)
    stream = endless(questions, config.seed, "curriculum")
    items: list[Item] = []
    for _ in range(config.steps):
        for slot in range(config.prompts_per_step):
            epoch, question = next(stream)
            if slot < open_per_step:
                items.append(Item(question, None, None))
            else:
                options, letter = lettered(question, config.seed, order=epoch)
                items.append(Item(question, options, letter))
    return items


def endless(rows: Sequence[RowT], seed: int, purpose: str) -> Iterator[tuple[int, RowT]]:
    """(epoch, row) for ever: all rows in a seeded order, then all again in another."""
    for epoch in count():
        order = list(rows)
        rng(seed, purpose, epoch).shuffle(order)
        yield from ((epoch, row) for row in order)
