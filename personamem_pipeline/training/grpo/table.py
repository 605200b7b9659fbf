"""The rollout table: one JSON line per turn of a few rollouts of every step, and a page of it, for people to read.

A figure that moves says that something changed; these lines say what: what the model was asked, what it wrote, what its
memory was afterwards, and what it earned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from personamem_pipeline.training.grpo.credit import memory_advantage
from personamem_pipeline.training.grpo.page import write_page
from personamem_pipeline.training.grpo.scored import ScoredRollout
from personamem_pipeline.training.labels import retained
from personamem_pipeline.training.step_lines import Row, append, cut

TAIL = 400
"""Characters of a writing prompt's end: with the chunk first, the instructions and the memory so far."""
ROLLOUTS, PAGE_EVERY = 2, 25


class RolloutTable:
    """Appends to `path` (JSON lines); a resumed run drops the steps that it repeats, once, before it adds its first.

    Args:
        path: the file; the page stands beside it, with the suffix `.html`.
        rollouts: most of them that a step keeps: the highest mean reward, the lowest, the second highest, and so on.
        page_every: steps after which the page is written anew.
    """

    def __init__(self, path: Path, *, rollouts: int = ROLLOUTS, page_every: int = PAGE_EVERY) -> None:
        self.path, self.rollouts, self.page_every = path, rollouts, page_every
        self._resumed = False

    def add(self, step: int, scored: Sequence[ScoredRollout]) -> None:
        """Keep the turns of some of the rollouts of `step`; steps come in order."""
        if not self._resumed:
            cut(self.path, lambda row: row["step"] < step)
            self._resumed = True
        append(
            self.path, [row for number in extremes(scored, self.rollouts) for row in rows(step, number, scored[number])]
        )
        if step % self.page_every == 0:
            self.page()

    def page(self) -> Path:
        """Write `<name>.html` from all that the file holds by now."""
        target = self.path.with_suffix(".html")
        write_page(self.path, target)
        return target


def extremes(scored: Sequence[ScoredRollout], most: int) -> list[int]:
    """Numbers of up to `most` rollouts, from the outside in: the best, the worst, the second best, ...

    Rollouts without any scored answer come only where there are no others.
    """
    worth = {number: mean for number, own in enumerate(scored) if (mean := mean_reward(own)) is not None}
    order = sorted(worth, key=lambda number: (-worth[number], number)) or list(range(len(scored)))
    outside_in = [order[i // 2] if i % 2 == 0 else order[-1 - i // 2] for i in range(len(order))]
    return outside_in[:most]


def mean_reward(own: ScoredRollout) -> float | None:
    """Mean of the answers' totals; None when none could be scored."""
    totals = [answer.total for answer in own.answers if answer.total is not None]
    return fmean(totals) if totals else None


def rows(step: int, number: int, own: ScoredRollout) -> list[Row]:
    """One row per turn of rollout `number`: the write turns in order, then the answers.

    `advantage` of a write turn is what its row in training carries; of an answer it is TRL's, before `answer_credit`.
    """
    shared = memory_advantage(own.advantages, [answer.total is not None for answer in own.answers])
    head = {"step": step, "rollout": number, "person": own.rollout.items[0].question.person_id}
    writes = [
        {
            **head,
            "kind": "write",
            "turn": turn.index + 1,
            "prompt_tail": turn.prompt[-TAIL:],
            "reply": turn.generation.text,
            "finished": turn.generation.finished,
            "tokens": len(turn.generation.token_ids),
            "memory": turn.memory,
            "kept": turn.kept,
            "retained": _short(retained(turn.memory, labels)),
            "parts": _rounded(reward.parts),
            "total": _short(reward.total),
            "advantage": _short(shared + extra),
        }
        for turn, labels, reward, extra in zip(
            own.rollout.turns, own.labels, own.turns, own.turn_advantages, strict=True
        )
    ]
    answers = [
        {
            **head,
            "kind": "answer",
            "question": item.question.question_id,
            "query": item.question.user_query,
            "options": item.options,
            "right": item.letter or item.question.correct_answer,
            "reply": reply.text,
            "finished": reply.finished,
            "tokens": len(reply.token_ids),
            "parts": _rounded(reward.parts),
            "total": _short(reward.total),
            "advantage": _short(advantage),
        }
        for item, reply, reward, advantage in zip(
            own.rollout.items, own.rollout.answers, own.answers, own.advantages, strict=True
        )
    ]
    return [*writes, *answers]


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _rounded(parts: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in parts.items()}
