"""Credit: which rollout an answer belongs to, and what each of its turns is told about the outcome.

Symbols: G rollouts in a group, M questions per memory. TRL sees a flat batch of answers, each question's G answers side by
side; a group of rollouts is therefore a block of M x G answers, in which the answers of one memory stand G apart:

    question 1: memory 1, ..., memory G | question 2: memory 1, ..., memory G | ... | question M: ...

What is maximised is a memory's mean reward over its M questions, and this is its exact policy gradient. TRL's advantage
of an answer is its reward less the mean over the G answers to the same question. A write turn gets the mean over the M
answers that its memory led to, which, baselines being linear, is the advantage of the memory's mean reward. An answer turn
moved one M-th of that mean: it gets its own advantage divided by M. With M = 1 every turn of a rollout carries the same
value: MemAgent's rule.
"""

from __future__ import annotations

from collections.abc import Sequence

from personamem_pipeline.training.grpo.rollouts import Rollout
from personamem_pipeline.training.grpo.rows import Row


def answers_of(rollout: int, group: int, questions: int) -> list[int]:
    """Positions in the flat batch of the `questions` (M) answers of rollout number `rollout`, in the order asked."""
    block, within = divmod(rollout, group)
    return [(block * questions + question) * group + within for question in range(questions)]


def rollout_of(position: int, group: int, questions: int) -> tuple[int, int]:
    """(number of the rollout, number of its question) of the answer at `position`: the inverse of `answers_of`."""
    prompt, within = divmod(position, group)
    block, question = divmod(prompt, questions)
    return block * group + within, question


def memory_advantage(advantages: Sequence[float], scored: Sequence[bool]) -> float:
    """The mean over a memory's answers that could be scored; 0 when none could: such a memory teaches nothing."""
    known = [advantage for advantage, known in zip(advantages, scored, strict=True) if known]
    return sum(known) / len(known) if known else 0.0


def rollout_rows(rollout: Rollout, advantages: Sequence[float], scored: Sequence[bool]) -> list[Row]:
    """One row per turn: the write turns with the memory's advantage, then the answers each with its share of it."""
    shared = memory_advantage(advantages, scored)
    writes = [Row(turn.generation.prompt_ids, turn.generation.token_ids, shared) for turn in rollout.turns]
    questions = max(1, sum(scored))
    answers = [
        Row(reply.prompt_ids, reply.token_ids, own / questions)
        for reply, own in zip(rollout.answers, advantages, strict=True)
    ]
    return writes + answers
