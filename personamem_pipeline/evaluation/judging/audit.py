"""The audit of the judges: can their scores be relied on? It makes `judging` of results.json.

Agreement between the judges is over all distinct answers that they judged; where a system said nothing there was nothing
to agree on. Agreement with people is on the anchors' own texts, which the panel judges like any other (at an endpoint
with a cache only once), so that a file of human labels serves every later report. Steadiness is measured on a seeded
sample: how often a judge's outcome flips when the same answer is put otherwise (`perturbing`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from personamem_pipeline.evaluation.judging import perturbing
from personamem_pipeline.evaluation.judging.anchors import Anchors
from personamem_pipeline.evaluation.judging.briefs import Brief, Evidence, brief
from personamem_pipeline.evaluation.judging.panel import Panel, answered
from personamem_pipeline.evaluation.judging.reliability import Column, against_people, between_judges
from personamem_pipeline.evaluation.records import OpenAnswer
from personamem_pipeline.records import Question
from personamem_pipeline.seeds import rng


def audit(
    panel: Panel,
    answers: Sequence[OpenAnswer],
    questions: Iterable[Question],
    evidence: Evidence,
    *,
    count: int,
    threshold: float,
    anchors: Anchors | None = None,
) -> dict[str, Any]:
    """How far the panel can be relied on.

    `answers` are all systems' answers as this panel judged them; `count` of the distinct ones are perturbed (0: none).
    Returns judges (names), n (distinct answers judged), alpha, kappa {"a and b": ...}, anchors (see
    `reliability.against_people`, None without) and flips (see `flips`, None for a count of 0).
    """
    distinct = {(row.question_id, row.answer): row for row in answers if answered(row)}
    rows = [distinct[key] for key in sorted(distinct)]
    scores = {name: [_score(row, name) for row in rows] for name in panel.names}
    by_id = {question.question_id: question for question in questions}
    whole = [row for row in rows if row.score is not None]
    sample = rng(panel.seed, "audit of the judges").sample(whole, min(count, len(whole)))
    briefs = [brief(by_id[row.question_id], evidence[row.question_id], row.answer) for row in sample]
    before = {name: [_score(row, name) for row in sample] for name in panel.names}
    return {
        "judges": list(panel.names),
        "n": len(rows),
        **between_judges(scores, threshold),
        "anchors": against_anchors(panel, anchors, threshold) if anchors else None,
        "flips": flips(panel, briefs, before, threshold) if count else None,
    }


def against_anchors(panel: Panel, anchors: Anchors, threshold: float) -> dict[str, Any]:
    """The panel against the people who labelled `anchors`: the panel judges the anchors' own briefs."""
    ids = anchors.labelled
    columns = panel.judgements([anchors.briefs[answer_id] for answer_id in ids])
    scores = {name: [row.score for row in column] for name, column in zip(panel.names, columns, strict=True)}
    return against_people(scores, anchors.columns(ids), threshold)


def flips(
    panel: Panel, briefs: Sequence[Brief], before: Mapping[str, Column], threshold: float
) -> dict[str, dict[str, dict[str, Any]]]:
    """Judge -> perturbation -> {flipped, n, mean_shift, missing, left_out}; `before` are the judges' scores of `briefs`.

    `flipped` of `n` verdicts fell on the other side of the threshold, and `mean_shift` is by how much scores rose on the
    mean (-1..1; None of none). `missing` perturbed briefs got no verdict, and `left_out` could not be perturbed (one
    sentence only; no faithful paraphrase): neither counts as steady.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in panel.names}
    for kind, turned in _perturbed(panel, briefs).items():
        places = [place for place, item in enumerate(turned) if item is not None]
        columns = panel.judgements([item for item in turned if item is not None])
        for name, column in zip(panel.names, columns, strict=True):
            pairs = [(before[name][place], row.score) for place, row in zip(places, column, strict=True)]
            found[name][kind] = {**_flipped(pairs, threshold), "left_out": len(briefs) - len(places)}
    return found


def _perturbed(panel: Panel, briefs: Sequence[Brief]) -> dict[str, Sequence[Brief | None]]:
    author = panel.author
    return {
        "longer": [perturbing.longer(item, panel.seed) for item in briefs],
        "fields": [perturbing.fields(item) for item in briefs],
        "sentences": [perturbing.sentences(item) for item in briefs],
        "paraphrase": perturbing.paraphrases(briefs, author, panel.seed) if author else [None] * len(briefs),
    }


def _flipped(pairs: Sequence[tuple[float | None, float | None]], threshold: float) -> dict[str, Any]:
    both = [(old, new) for old, new in pairs if old is not None and new is not None]
    return {
        "flipped": sum((old >= threshold) != (new >= threshold) for old, new in both),
        "n": len(both),
        "mean_shift": fmean(new - old for old, new in both) if both else None,
        "missing": len(pairs) - len(both),
    }


def _score(answer: OpenAnswer, judge: str) -> float | None:
    return next(row.score for row in answer.judgements if row.judge == judge)
