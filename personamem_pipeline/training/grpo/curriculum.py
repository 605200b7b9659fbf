"""Which question is asked in which optimizer step: fixed before training starts, from the seed alone.

Every step holds the same share of open-ended questions, option orders are drawn once per appearance (so that a whole group
of rollouts sees the same letters), and every
question is asked once in an epoch, except that a person's first ones may come again to fill that person's last block.
`questions_per_memory` questions in a row are about one person: they are asked of the same memories.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, cycle, islice

from personamem_pipeline.presets import GrpoConfig
from personamem_pipeline.questions.options import lettered
from personamem_pipeline.records import Question
from personamem_pipeline.seeds import rng


@dataclass(frozen=True)
class Item:
    """What a group of rollouts is asked: a question about one person's history, as multiple choice or open-ended."""

    question: Question
    options: dict[str, str] | None
    """Letter -> text; None for the open form."""
    letter: str | None
    """The right letter; None for the open form."""


def curriculum(questions: Sequence[Question], config: GrpoConfig) -> list[Item]:
    """`steps * prompts_per_step` items in the order of training, in blocks of `questions_per_memory` about one person."""
    asked: Counter[str] = Counter()
    stream = (question for block in _blocks(questions, config) for question in block)
    items: list[Item] = []
    for _ in range(config.steps):
        for slot in range(config.prompts_per_step):
            question = next(stream)
            if _is_open(slot, config):
                items.append(Item(question, None, None))
            else:
                items.append(Item(question, *lettered(question, config.seed, order=asked[question.question_id])))
            asked[question.question_id] += 1
    return items


def rows_of_steps(items: Sequence[Item], config: GrpoConfig) -> list[set[str]]:
    """Rows of the training dataset that each optimizer step rests on: its questions, and the histories that are read for
    them. The trainer shuffles nothing, so this is what any run asks, resumed or not, over however many processes."""
    size = config.prompts_per_step
    asked = [[item.question for item in items[start : start + size]] for start in range(0, len(items), size)]
    return [{row for question in step for row in (question.question_id, question.person_id)} for step in asked]


def _is_open(slot: int, config: GrpoConfig) -> bool:
    """Whether the step's question number `slot` is open-ended: `open_share` of the slots, spread evenly."""
    open_per_step = round(config.open_share * config.prompts_per_step)
    return (slot + 1) * open_per_step // config.prompts_per_step > slot * open_per_step // config.prompts_per_step


def _blocks(questions: Sequence[Question], config: GrpoConfig) -> Iterator[list[Question]]:
    """Blocks of questions about one person, for ever. A person's last block is filled up with that person's first ones."""
    size = config.questions_per_memory
    persons: dict[str, list[Question]] = {}
    for question in questions:
        persons.setdefault(question.person_id, []).append(question)
    for epoch in count():
        draw = rng(config.seed, "curriculum", epoch)
        blocks: list[list[Question]] = []
        for own in persons.values():
            order = draw.sample(own, len(own))
            padded = [*order, *islice(cycle(order), -len(order) % size)]
            blocks += [padded[start : start + size] for start in range(0, len(padded), size)]
        draw.shuffle(blocks)
        yield from blocks
