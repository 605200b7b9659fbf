"""The headline row of one system: accuracy with its intervals, what went wrong, and whether option order moved it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import combinations
from typing import Any

from personamem_pipeline.evaluation.records import Answer
from personamem_pipeline.evaluation.scoring.rows import Rows, share
from personamem_pipeline.evaluation.scoring.runs import SystemRun
from personamem_pipeline.evaluation.statistics.clusters import (
    Interval,
    Totals,
    cluster_bootstrap_mean,
    cluster_sandwich_se,
    sandwich_interval,
)
from personamem_pipeline.evaluation.statistics.shares import share_interval
from personamem_pipeline.questions.options import LETTERS
from personamem_pipeline.records import Question

Texts = Mapping[tuple[str, int], Mapping[str, str]]
"""(question_id, order) -> letter -> option."""
Bounds = dict[str, float | None]


def summarize(
    run: SystemRun, rows: Rows, *, texts: Texts, leak_questions: Collection[str], resamples: int, seed: int
) -> dict[str, Any]:
    """One row of `systems`. `rows` are the answers after the whole history.

    `accuracy` counts every question in every order. An answer is counted apart in exactly one of `over_long` (the prompt
    was over the model's context), `refused` (the endpoint gave none) and `unparseable` (there is a reply, and it picks
    nothing), and each of these is wrong; `unfinished` replies ran into their cap, and may be parseable. `low` and `high`
    are the cluster bootstrap's 95 % bounds (`share_bounds` where all persons have the same accuracy), `sandwich_low` and
    `sandwich_high` those of the cluster-robust standard error `se`; all of them None for one person, between whom and
    others there is no spread to be seen.
    `parsed_only_leniently` answers are those that the lenient parser alone could read, rightly or not.
    """
    data = rows.totals()
    answers = rows.answers
    by_question = _by_question(answers)
    parsed = [answer.picked for answer in answers if answer.picked is not None]
    problems = Counter(answer.problem for answer in answers)
    sandwich = sandwich_interval(data)
    return {
        "name": run.name,
        "label": run.label,
        "role": run.role,
        "reading": run.reading,
        "model": run.model,
        "accuracy": data.mean,
        **_accuracy_interval(data, resamples, seed),
        "se": cluster_sandwich_se(data),
        "sandwich_low": sandwich.low if sandwich else None,
        "sandwich_high": sandwich.high if sandwich else None,
        "n": len(answers),
        "questions": len(by_question),
        "persons": len(data.names),
        "unparseable": sum(answer.picked is None and not answer.problem for answer in answers),
        "over_long": problems["over_long"],
        "refused": problems["refused"],
        "unfinished": sum(not answer.finished and not answer.problem for answer in answers),
        "accuracy_lenient": sum(answer.correct_leniently for answer in answers) / len(answers),
        "parsed_only_leniently": sum(a.picked is None and a.picked_leniently is not None for a in answers),
        "right_in_every_order": sum(all(a.correct for a in own) for own in by_question) / len(by_question),
        "consistency": consistency(by_question, texts),
        **_letters(answers, parsed),
        **_leak_rate(rows, leak_questions),
    }


def _by_question(answers: Iterable[Answer]) -> list[list[Answer]]:
    found: dict[str, list[Answer]] = {}
    for answer in answers:
        found.setdefault(answer.question_id, []).append(answer)
    return list(found.values())


def interval(data: Totals | None, *, resamples: int, seed: int, prefix: str = "") -> Bounds:
    """`low` and `high` by the cluster bootstrap; both None where fewer than two persons have values."""
    return _bounds(cluster_bootstrap_mean(data, resamples=resamples, seed=seed) if data else None, prefix)


def share_bounds(data: Totals | None, prefix: str = "") -> Bounds:
    """`low` and `high` of a share of few answers, or near 0 or 1: where nobody leaked, resampling would see no spread and
    claim to know the rate exactly (Korn & Graubard's interval, `statistics.shares`). None as for `interval`."""
    return _bounds(share_interval(data) if data else None, prefix)


def _bounds(found: Interval | None, prefix: str) -> Bounds:
    return {f"{prefix}low": found.low if found else None, f"{prefix}high": found.high if found else None}


def _accuracy_interval(data: Totals, resamples: int, seed: int) -> Bounds:
    found = interval(data, resamples=resamples, seed=seed)
    return share_bounds(data) if found["low"] == found["high"] else found


def consistency(by_question: Iterable[Iterable[Answer]], texts: Texts) -> float | None:
    """Share of pairs of a question's option orders in which the same option was picked, whatever its letter.

    A reader who knows (or always takes the longest) is at 1, one who picks at random at 1/4, and one who always says `a`
    at the share of pairs with one option under `a`. An order without a pick agrees with none. None for a single order.
    """
    agree = pairs = 0
    for answers in by_question:
        picks = [texts[a.question_id, a.order][a.picked] if a.picked is not None else None for a in answers]
        for one, other in combinations(picks, 2):
            pairs += 1
            agree += one is not None and one == other
    return agree / pairs if pairs else None


def leak_questions(questions: Iterable[Question]) -> frozenset[str]:
    """Ids of the questions about private data that have an option which gives them away.

    The released files do not say what their wrong options do (all are `other`), so that of them there are none.
    """
    return frozenset(
        question.question_id
        for question in questions
        if question.pref_type == "sensitive_info" and "leak" in question.incorrect_kinds
    )


def _leak_rate(rows: Rows, questions: Collection[str]) -> Bounds:
    """Share of the answers to those questions that pick the leak; what picks nothing leaks nothing. None of none."""
    asked = rows.where(lambda answer: answer.question_id in questions)
    if not len(asked):
        return {"leak_rate": None, "leak_low": None, "leak_high": None}
    data = rows.totals(asked, [answer.leaks for answer in rows.answers])
    return {"leak_rate": data.mean, **share_bounds(data, "leak_")}


def _letters(answers: Iterable[Answer], parsed: list[str]) -> dict[str, Any]:
    """Letters picked among the parsed answers, accuracy by the right letter, and the largest distance of a letter's share
    from the share of questions in which it is right; None and nothing where nothing was parsed."""
    right: dict[str, list[bool]] = {}
    for answer in answers:
        right.setdefault(answer.right, []).append(answer.correct)
    picked = share(Counter(parsed), LETTERS)
    true = share(Counter({letter: len(own) for letter, own in right.items()}), LETTERS)
    return {
        "letters_picked": picked,
        "letters_accuracy": {letter: sum(own) / len(own) for letter, own in sorted(right.items())},
        "letter_bias": max(abs(picked[letter] - true[letter]) for letter in LETTERS) if picked else None,
    }
