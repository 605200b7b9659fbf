"""The reward of an open answer: the judge's score of what a user would read of it.

The judge fails closed: a refusal, or a reply that is no verdict, is None here. Such an answer leaves its group's baseline;
it is never paid 0, which would teach that the answer was bad.
"""

from __future__ import annotations

from typing import Any

from personamem_pipeline.errors import Refused
from personamem_pipeline.memory.prompts import open_answer
from personamem_pipeline.questions.judge import Verdict, brief
from personamem_pipeline.records import Question


def answer_brief(question: Question, answer: str) -> dict[str, Any]:
    """What the judge is told of an open reply: the line quoted first is working and stays out, as in evaluation."""
    return brief(question, open_answer(answer))


def open_reward(verdict: Verdict | Refused) -> float | None:
    """The verdict's score, 0..1; None where there is none."""
    return verdict.score if isinstance(verdict, Verdict) else None
