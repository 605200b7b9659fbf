"""Answers, runs and write turns made by hand, so that every figure in these tests can be worked out on paper."""

from __future__ import annotations

from typing import Any

from personamem_pipeline.evaluation.records import Answer, Judgement, MemoryStep, OpenAnswer
from personamem_pipeline.evaluation.scoring.rows import Rows
from personamem_pipeline.evaluation.scoring.runs import SystemRun

BOUNDS: dict[str, Any] = {"resamples": 300, "seed": 0}
LABELS: dict[str, Any] = {
    "pref_type": "neutral_preferences", "who": "self", "updated": False, "wording": "seen",
    "conversation_scenario": "translation", "topic": "t", "distance": 4, "system": "s",
}  # fmt: skip
REPLY: dict[str, Any] = {"finished": True, "problem": "", "input_tokens": 10, "output_tokens": 2}


def row(question: str, person: str, picked: str | None, right: str = "a", order: int = 0, **more: Any) -> Answer:
    """An answer; what the lenient parser read is what the strict one did, unless `picked_leniently` says otherwise."""
    lenient = more.get("picked_leniently", picked)
    values = {
        "question_id": question, "person_id": person, "order": order, "moment": "end", "right": right, "picked": picked,
        "picked_leniently": lenient, "correct": picked == right, "correct_leniently": lenient == right, "leaks": False,
        "output": "",
    }  # fmt: skip
    return Answer.model_validate({**LABELS, **REPLY, **values, **more})


def opened(question: str, person: str, scores: tuple[float | None, ...], **more: Any) -> OpenAnswer:
    """An open answer with one verdict per judge `j0`, `j1`, ..."""
    judgements = tuple(Judgement(judge=f"j{at}", score=score, reason="") for at, score in enumerate(scores))
    known = [score for score in scores if score is not None]
    score = sum(known) / len(known) if len(known) == len(scores) else None
    values = {"question_id": question, "person_id": person, "answer": "", "judgements": judgements, "score": score}
    return OpenAnswer.model_validate({**LABELS, **REPLY, **values, **more})


def step(subject: str, index: int, kept: str = "", memory_tokens: int = 50, **tokens: int) -> MemoryStep:
    values = {"input_tokens": 100, "output_tokens": 20, **tokens}
    return MemoryStep(
        subject=subject, index=index, turns=(), memory="m", kept=kept, memory_tokens=memory_tokens, **values
    )


def run(answers: list[Answer], name: str = "s", **more: Any) -> SystemRun:
    values = {"name": name, "label": name, "role": "model", "reading": "memory", "model": "grpo", **more}
    return SystemRun(answers=[answer.model_copy(update={"system": name}) for answer in answers], **values)


def rows(answers: list[Answer], name: str = "s") -> Rows:
    return Rows.of([answer.model_copy(update={"system": name}) for answer in answers])


def marks(*right: str, name: str = "s", **more: Any) -> list[Answer]:
    """One answer per character: `1` right, `0` wrong, `-` unparseable; each string is a person's."""
    return [
        row(f"p{person}.q{at}", f"p{person}", {"1": "a", "0": "b", "-": None}[mark], system=name, **more)
        for person, own in enumerate(right)
        for at, mark in enumerate(own)
    ]
