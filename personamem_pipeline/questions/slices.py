"""Slices: what readers and guessers score on a whole dataset and on each type of question, held within bounds.

A bound over a dataset can hide a slice in which a trick works, so guesses by length are bounded on every slice; where
one is over its bound, the rows that make it work are refused until it no longer does. Blind and oracle accuracy are
bounded over the dataset: single questions were already held to theirs by the certificate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from personamem_pipeline.presets import QuestionsConfig
from personamem_pipeline.questions.facts import SHAPES, QuestionFacts
from personamem_pipeline.questions.findings import Finding
from personamem_pipeline.seeds import stable_int

ALL = "all"
LENGTH = "length"
"""Code of the reason of a row that was refused for its slice's sake."""
_ROUNDING = 1e-9
Slices = dict[str, dict[str, Any]]


def by_type(questions: Iterable[QuestionFacts]) -> dict[str, list[QuestionFacts]]:
    """The questions of each type, types in alphabetical order."""
    found: dict[str, list[QuestionFacts]] = {}
    for question in questions:
        found.setdefault(question.pref_type, []).append(question)
    return dict(sorted(found.items()))


def trim(questions: Iterable[QuestionFacts], config: QuestionsConfig) -> dict[str, str]:
    """Question id -> reason, of the admitted questions that must go for the length bounds to hold on every type."""
    refused: dict[str, str] = {}
    for rows in by_type(question for question in questions if question.admitted).values():
        refused |= _trim_slice(rows, config.max_length_guess)
    return refused


def _trim_slice(rows: Sequence[QuestionFacts], bound: float) -> dict[str, str]:
    """Rows whose right option is the longest (or the shortest), first by a stable hash, until neither guess is over.

    A guess is over its bound when its scores exceed the bound by more than zero in sum. Taking out a row over the bound
    lowers that sum and may raise the other guess's; every step takes a row away, so it ends.
    """
    scores = {
        "longest": {q.question_id: q.longest for q in rows},
        "shortest": {q.question_id: q.shortest for q in rows},
    }
    excess = {name: sum(score - bound for score in values.values()) for name, values in scores.items()}
    shares = {name: sum(values.values()) / len(rows) for name, values in scores.items()}
    order = sorted((q.question_id for q in rows), key=lambda name: (stable_int("length", name), name))
    surplus = {name: iter([q for q in order if values[q] > bound]) for name, values in scores.items()}
    refused: dict[str, str] = {}
    while (worst := max(excess, key=excess.__getitem__)) and excess[worst] > _ROUNDING:
        question_id = next(name for name in surplus[worst] if name not in refused)
        refused[question_id] = (
            f"{LENGTH}: the right option is the {worst}, as in {shares[worst]:.2f} of the admitted questions of its type, "
            f"over {bound:.2f}"
        )
        for name, values in scores.items():
            excess[name] -= values[question_id] - bound
    return refused


def slice_figures(questions: Sequence[QuestionFacts], *, certified: bool = True) -> Slices:
    """Mean scores over all questions and over each type; `None` where there is nothing to take a mean of.

    Accuracies are those of the certificates, `blind` the best reader's: a row's own is already the better of its readers',
    and the mean of that would lie over chance for readers that only guess. Guesses are what
    picking an option by its shape scores (chance is 0.25).
    Rows that nobody certified have no accuracies, only guesses.
    """
    return {name: _figures(rows, certified) for name, rows in {ALL: questions, **by_type(questions)}.items()}


def _figures(rows: Sequence[QuestionFacts], certified: bool) -> dict[str, Any]:
    measured = rows if certified else ()
    readers = _by_reader(measured)
    return {
        "questions": len(rows),
        "blind": max((mean for mean in readers.values() if mean is not None), default=None),
        "blind_by_reader": readers,
        "oracle": _mean(row.oracle for row in measured),
        "update": _mean(row.update for row in measured if row.update is not None),
        "swapped": _mean(row.swapped for row in measured),
        "implicitness": _mean(row.implicitness for row in measured),
        "longest": _mean(row.longest for row in rows),
        "shortest": _mean(row.shortest for row in rows),
        **{shape: _mean(row.shapes[index] for row in rows) for index, shape in enumerate(SHAPES)},
        "plain": _mean(row.plain for row in rows if row.plain is not None),
    }


def _by_reader(rows: Sequence[QuestionFacts]) -> dict[str, float | None]:
    scores: dict[str, list[float]] = {}
    for row in rows:
        for reader, score in zip(row.readers, row.blind_by_reader, strict=True):
            scores.setdefault(reader, []).append(score)
    return {reader: _mean(values) for reader, values in sorted(scores.items())}


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return round(sum(known) / len(known), 4) if known else None


def within_bounds(slices: Slices, config: QuestionsConfig, trimmed: Mapping[str, str]) -> Finding:
    """Blind and oracle accuracy hold over the dataset, the guesses by length on every type of question."""
    whole = slices[ALL]
    problems: list[str] = []
    if not whole["questions"]:
        problems.append("there is no admitted question")
    else:
        if whole["blind"] > config.max_slice_blind + _ROUNDING:
            problems.append(f"{ALL}: blind {whole['blind']:.3f}, over {config.max_slice_blind}")
        if whole["oracle"] < config.min_slice_oracle - _ROUNDING:
            problems.append(f"{ALL}: oracle {whole['oracle']:.3f}, under {config.min_slice_oracle}")
    for name, figures in slices.items():
        for guess in ("longest", "shortest"):
            if name != ALL and figures[guess] > config.max_length_guess + _ROUNDING:
                problems.append(f"{name}: {guess} guess {figures[guess]:.3f}, over {config.max_length_guess}")
    facts = {
        "blind": whole["blind"],
        "oracle": whole["oracle"],
        "refused_for_length": len(trimmed),
        "out_of_bounds": problems,
    }
    return Finding(name="within bounds", passed=not problems, facts=facts)


def not_certified(slices: Slices) -> Finding:
    """In place of `within_bounds` for rows that nobody certified: said, not tested."""
    said = "not applicable: nobody certified these rows"
    guesses = {name: slices[ALL][name] for name in ("longest", "shortest")}
    return Finding(name="within bounds", passed=True, facts={"bounds": said, **guesses})


def slice_table(slices: Slices) -> str:
    """The figures as a Markdown table, one row a slice."""
    columns = [name for name in next(iter(slices.values())) if name != "blind_by_reader"]
    readers = list(slices[ALL]["blind_by_reader"])
    several = readers if len(readers) > 1 else []
    lines = [
        "| slice | " + " | ".join([*columns, *(f"blind: {reader}" for reader in several)]) + " |",
        "| --- |" + " ---: |" * (len(columns) + len(several)),
    ]
    for name, figures in slices.items():
        cells = [figures[column] for column in columns] + [figures["blind_by_reader"].get(reader) for reader in several]
        lines.append(f"| `{name}` | " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines)


def _cell(value: float | int | None) -> str:
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"
