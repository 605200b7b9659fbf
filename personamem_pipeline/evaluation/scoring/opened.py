"""Judged open answers of one system: their mean, the share over the threshold, and what missing verdicts could change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from personamem_pipeline.evaluation.records import OpenAnswer
from personamem_pipeline.evaluation.scoring.summary import interval, share_bounds
from personamem_pipeline.evaluation.statistics.clusters import Totals, totals


def open_scores(answers: Sequence[OpenAnswer], *, threshold: float, resamples: int, seed: int) -> dict[str, Any]:
    """One row of `open`.

    `mean` and `accuracy` (the share with a score of at least `threshold`) are over the answers that every judge gave a
    verdict on, with intervals clustered by person; None where there is none. `lowest` and `highest` are what the mean
    would be if every missing score were 0 or 1 (Manski's worst-case bounds, 1989): where they are far apart, the mean says
    little. `by_judge` are the means of each judge's own verdicts.
    """
    judged = [(answer.score, answer.person_id) for answer in answers if answer.score is not None]
    people = [person for _, person in judged]
    scores = [score for score, _ in judged]
    mean = totals(scores, people) if judged else None
    over = totals([float(score >= threshold) for score in scores], people) if judged else None
    missing = len(answers) - len(judged)
    return {
        "system": answers[0].system,
        "mean": _mean(mean),
        **interval(mean, resamples=resamples, seed=seed),
        "accuracy": _mean(over),
        **share_bounds(over, "accuracy_"),
        "threshold": threshold,
        "n": len(answers),
        "missing": missing,
        "lowest": sum(scores) / len(answers),
        "highest": (sum(scores) + missing) / len(answers),
        "by_judge": _by_judge(answers),
    }


def _mean(data: Totals | None) -> float | None:
    return data.mean if data else None


def _by_judge(answers: Sequence[OpenAnswer]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for answer in answers:
        for judgement in answer.judgements:
            if judgement.score is not None:
                found.setdefault(judgement.judge, []).append(judgement.score)
    return {judge: sum(scores) / len(scores) for judge, scores in sorted(found.items())}
