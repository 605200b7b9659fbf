"""The rollout table: one JSON line per turn of a few rollouts of every step, for people to read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from personamem_pipeline.training.grpo.rollouts import Rollout


class RolloutTable:
    """Appends to `path`; a resumed run drops the steps that it repeats."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, step: int, rollouts: Sequence[Rollout], advantages: Sequence[Sequence[float]]) -> None:
        """Write the turns of the rollouts with the highest and the lowest mean advantage of `step`."""
        means = [sum(own) / len(own) for own in advantages]
        order = sorted(range(len(rollouts)), key=lambda i: means[i])
        chosen = dict.fromkeys((order[-1], order[0]))
        lines = [
            json.dumps({"step": step, "rollout": index, **turn})
            for index in chosen
            for turn in _turns(rollouts[index], advantages[index])
        ]
        kept = self.path.read_text().splitlines() if self.path.exists() else []
        kept = [line for line in kept if json.loads(line)["step"] < step]
        self.path.write_text("\n".join([*kept, *lines]) + "\n")


def _turns(rollout: Rollout, advantages: Sequence[float]) -> list[dict[str, object]]:
    writes: list[dict[str, object]] = [
        {
            "kind": "write",
            "turn": turn.index,
            "person": rollout.items[0].question.person_id,
            "reply": turn.generation.text,
            "kept": turn.kept,
        }
        for turn in rollout.turns
    ]
    answers: list[dict[str, object]] = [
        {
            "kind": "answer",
            "question": item.question.question_id,
            "query": item.question.user_query,
            "right": item.letter or item.question.correct_answer,
            "reply": reply.text,
            "advantage": round(advantage, 4),
        }
        for item, reply, advantage in zip(rollout.items, rollout.answers, advantages, strict=True)
    ]
    return [*writes, *answers]
