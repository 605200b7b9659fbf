"""Credit: which rollout an answer belongs to, and what each of its turns is told about the outcome.

Symbols: G rollouts in a group, M questions per memory. TRL sees a flat batch of answers, each question's G answers side by
side; a group of rollouts is therefore a block of M x G answers, in which the answers of one memory stand G apart:

    question 1: memory 1, ..., memory G | question 2: memory 1, ..., memory G | ... | question M: ...

What is maximised is a memory's mean reward over its M questions, and with `share` this is its exact policy gradient. TRL's
advantage of an answer is its reward less the mean over the G answers to the same question. A write turn gets the mean over
the M answers that its memory led to, which, baselines being linear, is the advantage of the memory's mean reward. An answer
turn moved one M-th of that mean: it gets its own advantage divided by M (`own`: all of it, which weighs answers M times).
With M = 1 every turn of a rollout carries the same value: MemAgent's rule.

Rewards of memories are known turn by turn: a write turn's share is its own reward less the mean over the G rollouts of the
same turn, which all read the same chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from personamem_pipeline.training.grpo.rollouts import Rollout
from personamem_pipeline.training.grpo.rows import ANSWER, WRITE, Row

AnswerCredit = Literal["share", "own"]


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


def counted(totals: Sequence[float | None], group: int) -> list[bool]:
    """Which answers count, in the flat order: those that were scored, along with another of the same question.

    A lone one is its own baseline: its advantage of 0 says nothing, and would only thin out its memory's other answers.
    """
    out: list[bool] = []
    for start in range(0, len(totals), group):
        known = [total is not None for total in totals[start : start + group]]
        out += known if sum(known) > 1 else [False] * len(known)
    return out


def without_residue(advantages: Sequence[float], totals: Sequence[float | None], group: int) -> list[float]:
    """The advantages, exactly 0 where all of a group was paid the same.

    A float32 mean of eight 0.7 is not 0.7: the residue teaches nothing, yet each row would cost a forward pass.
    """
    out: list[float] = []
    for start in range(0, len(advantages), group):
        paid = set(totals[start : start + group]) - {None}
        out += [0.0] * group if len(paid) < 2 else advantages[start : start + group]
    return out


def centred(rewards: Sequence[Sequence[float]], group: int) -> list[list[float]]:
    """Rewards of write turns, (rollouts, turns), less their mean over the group's rollouts of the same turn."""
    out: list[list[float]] = []
    for start in range(0, len(rewards), group):
        own = rewards[start : start + group]
        means = [sum(turn) / len(turn) for turn in zip(*own, strict=True)]
        out += [[value - mean for value, mean in zip(turns, means, strict=True)] for turns in own]
    return out


def rollout_rows(
    number: int,
    rollout: Rollout,
    advantages: Sequence[float],
    scored: Sequence[bool],
    *,
    turn_advantages: Sequence[float] = (),
    credit: AnswerCredit = "share",
    mask_overlong: bool = False,
) -> list[Row]:
    """One row per turn of rollout `number`: the write turns with the memory's advantage, then the answers.

    `turn_advantages` are added to the write turns, one each, where memories are rewarded themselves. With `mask_overlong`
    an answer that its cap cut off counts for the memory, but has no row of its own, which would teach cut answers.
    """
    shared = memory_advantage(advantages, scored)
    extra = turn_advantages or [0.0] * len(rollout.turns)
    writes = [
        Row(
            turn.generation.prompt_ids,
            turn.generation.token_ids,
            shared + own,
            WRITE,
            number,
            turn.generation.logprobs,
        )
        for turn, own in zip(rollout.turns, extra, strict=True)
    ]
    divisor = max(1, sum(scored)) if credit == "share" else 1
    answers = [
        Row(
            reply.prompt_ids,
            reply.token_ids,
            own / divisor,
            ANSWER,
            number,
            reply.logprobs,
        )
        for reply, own in zip(rollout.answers, advantages, strict=True)
        if reply.finished or not mask_overlong
    ]
    return writes + answers
