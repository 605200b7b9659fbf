"""The rollout table: one JSON line per turn of a few rollouts of every step, for people to read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from personamem_pipeline.training.grpo.rollouts import Rollout

SHOWN = 2
"""Rollouts kept per step: the best and the worst of the step by advantage."""


class RolloutTable:
    """Appends to `path`; a resumed run drops the steps that it repeats."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, step: int, rollouts: Sequence[Rollout], advantages: Sequence[float]) -> None:
        """Write the turns of the rollouts with the highest and the lowest advantage of `step`."""
        order = sorted(range(len(rollouts)), key=lambda i: advantages[i])
        chosen = dict.fromkeys((order[-1], order[0]))
        lines = [
            json.dumps({"step": step, "rollout": index, "advantage": round(advantages[index], 4), **turn})
            for index in chosen
            for turn in _turns(rollouts[index])
        ]
        kept = self.path.read_text().splitlines() if self.path.exists() else []
        kept = [line for line in kept if json.loads(line)["step"] < step]
        self.path.write_text("\n".join([*kept, *lines]) + "\n")


def _turns(rollout: Rollout) -> list[dict[str, object]]:
    question = rollout.item.question
    writes: list[dict[str, object]] = [
        {
            "kind": "write",
            "turn": turn.index,
            "person": question.person_id,
            "reply": turn.generation.text,
            "kept": turn.kept,
        }
        for turn in rollout.turns
    ]
    answer: dict[str, object] = {
        "kind": "answer",
        "question": question.question_id,
        "query": question.user_query,
        "right": rollout.item.letter or question.correct_answer,
        "reply": rollout.answer.text,
    }
    return [*writes, answer]
