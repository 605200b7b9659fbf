"""Rewards of final answers: pure functions of the question and the answer's text.

Multiple choice pays for stating the right option in a strict form (`memory.prompts.parse_choice`); anything else earns 0,
never the nearest option.
Open answers are scored by a judge; a judgement that fails is `None`, which leaves the rollout out of its group's baseline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from personamem_pipeline.memory.prompts import open_answer, parse_choice
from personamem_pipeline.questions.judge import Judge, Verdict, brief
from personamem_pipeline.training.grpo.curriculum import Item


def choice_reward(answer: str, options: Mapping[str, str], letter: str) -> float:
    """1 for the right option, 0 for a wrong one or none."""
    return float(parse_choice(answer, options) == letter)


def judge_rewards(tasks: Sequence[Item], answers: Sequence[str], judge: Judge) -> list[float | None]:
    """The judge's score of every open answer, all in one batch; None for multiple choice and for failed judgements."""
    asked = [index for index, task in enumerate(tasks) if task.letter is None]
    verdicts = judge.verdicts([brief(tasks[index].question, open_answer(answers[index])) for index in asked])
    scores = {
        index: verdict.score for index, verdict in zip(asked, verdicts, strict=True) if isinstance(verdict, Verdict)
    }
    return [scores.get(index) for index in range(len(tasks))]
