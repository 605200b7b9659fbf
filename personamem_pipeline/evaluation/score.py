"""From answers to figures: per system, per slice, per pair of systems, and what it cost in tokens.

Pure functions of the answers (and write turns): scoring again with other bounds or slices repeats no generation.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.records import Answer, MemoryStep, OpenAnswer, Role, SystemSummary
from personamem_pipeline.evaluation.statistics import (
    Totals,
    cluster_bootstrap_mean,
    cluster_sandwich_se,
    paired_cluster_permutation,
    totals,
)

SLICES: dict[str, Callable[[Answer], str]] = {
    "type": lambda answer: answer.pref_type,
    "whose": lambda answer: answer.who,
    "updated": lambda answer: "updated" if answer.updated else "static",
    "wording": lambda answer: answer.wording,
    "conversation": lambda answer: answer.conversation_scenario,
}
"""Dimension -> the slice that an answer belongs to."""
STEREOTYPE, ANTI = "stereotypical_pref", "anti_stereotypical_pref"


def person_totals(answers: Sequence[Answer], names: Sequence[str] | None = None) -> Totals:
    """Right answers and answers per person."""
    return totals([float(a.correct) for a in answers], [a.person_id for a in answers], names)


def summarize(answers: Sequence[Answer], *, label: str, role: Role, resamples: int, seed: int) -> SystemSummary:
    """The headline figures of one system's answers."""
    if not answers:
        raise UserError("a system without answers cannot be scored", where=label)
    data = person_totals(answers)
    interval = cluster_bootstrap_mean(data, resamples=resamples, seed=seed)
    parsed = [a.picked for a in answers if a.picked is not None]
    by_question: dict[str, list[bool]] = defaultdict(list)
    for answer in answers:
        by_question[answer.question_id].append(answer.correct)
    letters = sorted({a.right for a in answers})
    return SystemSummary(
        name=answers[0].system,
        label=label,
        role=role,
        accuracy=data.mean,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        se=cluster_sandwich_se(data),
        n=len(answers),
        questions=len(by_question),
        persons=len(data.names),
        unparseable=len(answers) - len(parsed),
        right_in_every_order=sum(all(marks) for marks in by_question.values()) / len(by_question),
        letters_picked={letter: count / len(parsed) for letter, count in sorted(Counter(parsed).items())},
        letters_accuracy={letter: _mean(a.correct for a in answers if a.right == letter) for letter in letters},
    )


def compare(a: Sequence[Answer], b: Sequence[Answer], *, resamples: int, seed: int) -> dict[str, Any]:
    """Paired test of two systems' answers; refuses answers that do not pair row by row."""
    if {(x.question_id, x.order) for x in a} != {(x.question_id, x.order) for x in b} or len(a) != len(b):
        raise UserError(
            f"the answers of {a[0].system} and {b[0].system} are not to the same questions and option orders",
            remedy="evaluate both on the same benchmark with the same option orders",
        )
    test = paired_cluster_permutation(person_totals(a), person_totals(b), resamples=resamples, seed=seed)
    return {"a": a[0].system, "b": b[0].system, **asdict(test)}


def slices(answers: Sequence[Answer], *, resamples: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Dimension -> one row per slice that occurs, with an interval clustered by person."""
    return {
        dimension: [
            _slice(value, [a for a in answers if of(a) == value], resamples, seed)
            for value in sorted({of(answer) for answer in answers})
        ]
        for dimension, of in SLICES.items()
    }


def _slice(value: str, answers: Sequence[Answer], resamples: int, seed: int) -> dict[str, Any]:
    data = person_totals(answers)
    interval = cluster_bootstrap_mean(data, resamples=resamples, seed=seed)
    return {
        "system": answers[0].system,
        "value": value,
        "accuracy": data.mean,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "n": len(answers),
        "questions": len({a.question_id for a in answers}),
        "persons": len(data.names),
    }


def stereotype_gap(answers: Sequence[Answer], *, resamples: int, seed: int) -> dict[str, Any] | None:
    """Accuracy on stereotypical minus anti-stereotypical preferences: above 0 where a model guesses.

    Both are taken from the same resampled persons. None where either kind does not occur.
    """
    kinds = {kind: [a for a in answers if a.pref_type == kind] for kind in (STEREOTYPE, ANTI)}
    if not all(kinds.values()):
        return None
    names = sorted({a.person_id for rows in kinds.values() for a in rows})
    stereo, anti = (person_totals(kinds[kind], names) for kind in (STEREOTYPE, ANTI))
    interval = cluster_bootstrap_mean(stereo, minus=anti, resamples=resamples, seed=seed)
    return {
        "system": answers[0].system,
        "stereotypical": stereo.mean,
        "anti_stereotypical": anti.mean,
        "gap": stereo.mean - anti.mean,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
    }


def ledger(answers: Sequence[Answer], steps: Sequence[MemoryStep]) -> dict[str, Any]:
    """What the answers cost in tokens, the writing of the memories included.

    A memory is written once and read by every question, so its cost is spread over the questions of the benchmark;
    `write_share` says how much of the total the writing is. Further option orders of a question are repeats of the
    measurement, not use, so read tokens are means per answer and writing is divided by questions.
    """
    questions = len({a.question_id for a in answers})
    write_in, write_out = sum(s.input_tokens for s in steps), sum(s.output_tokens for s in steps)
    read_in, read_out = _mean(a.input_tokens for a in answers), _mean(a.output_tokens for a in answers)
    per_question = (write_in + write_out) / questions
    total = per_question + read_in + read_out
    return {
        "system": answers[0].system,
        "subjects": len({s.subject for s in steps}),
        "write_turns": len(steps),
        "turns_that_kept_the_old_memory": dict(sorted(Counter(s.kept for s in steps if s.kept).items())),
        "write_input_tokens": write_in,
        "write_output_tokens": write_out,
        "write_tokens_per_question": per_question,
        "read_input_tokens_per_question": read_in,
        "read_output_tokens_per_question": read_out,
        "tokens_per_question": total,
        "write_share": per_question / total if total else 0.0,
    }


def open_scores(answers: Sequence[OpenAnswer], *, resamples: int, seed: int) -> dict[str, Any]:
    """Mean judged score of the open answers, with what missing verdicts could do to it.

    `mean` is over the judged ones only. `lowest` and `highest` take every missing verdict as 0 and as 1 (Manski's
    worst-case bounds): where they are far apart the mean says little.
    """
    judged = [(a.score, a.person_id) for a in answers if a.score is not None]
    missing = len(answers) - len(judged)
    total = sum(score for score, _ in judged)
    data = totals([score for score, _ in judged], [person for _, person in judged]) if judged else None
    interval = cluster_bootstrap_mean(data, resamples=resamples, seed=seed) if data else None
    return {
        "system": answers[0].system,
        "mean": data.mean if data else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "n": len(answers),
        "missing": missing,
        "lowest": total / len(answers),
        "highest": (total + missing) / len(answers),
    }


def _mean(values: Iterable[float]) -> float:
    found = [float(value) for value in values]
    return float(np.mean(found)) if found else 0.0
