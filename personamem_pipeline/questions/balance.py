"""Balance: how the questions and persons of a dataset are spread, held against what was wanted.

Three shifts are looked for. Refusals may have hit one type of question more than the others; one topic may have taken
over; and the persons may not have the demographics that their tables ask for.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from personamem_pipeline.presets import QuestionsConfig
from personamem_pipeline.questions.facts import QuestionFacts
from personamem_pipeline.questions.findings import Finding

COLUMNS = ("pref_type", "who", "updated", "wording", "conversation_scenario")
LISTED_TOPICS = 20
OTHER_TOPICS = "(other topics)"
Shares = Mapping[str, Mapping[str, float]]
"""Attribute -> value -> share; the value "" is that of persons for whom the attribute is left open."""
Attributes = Mapping[str, Mapping[str, str]]
"""Person id -> attribute -> value."""
LEAST_EXPECTED = 5.0
"""Expected count below which cells are merged: the usual condition of the chi-square approximation (Cochran 1954)."""
RARE = "(rare values)"
NO_TARGETS = "not applicable: the persons were not drawn from demographic tables, so there is nothing to compare with"


def balance(questions: Sequence[QuestionFacts]) -> dict[str, dict[str, int]]:
    """How many questions of each type, whose, updated or not, wording, scenario, and of the most frequent topics."""
    counts = {name: dict(sorted(Counter(str(getattr(q, name)) for q in questions).items())) for name in COLUMNS}
    topics = topic_counts(questions)
    listed = dict(list(topics.items())[:LISTED_TOPICS])
    rest = sum(topics.values()) - sum(listed.values())
    return {**counts, "topic": listed | ({OTHER_TOPICS: rest} if rest else {})}


def topic_counts(questions: Iterable[QuestionFacts]) -> dict[str, int]:
    """Topic without case -> questions, the most frequent first."""
    counts = Counter(question.topic.strip().casefold() for question in questions)
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def balanced(
    planned: Mapping[str, int],
    questions: Sequence[QuestionFacts],
    config: QuestionsConfig,
    *,
    persons: Sequence[str],
    others: Sequence[str] = (),
    attributes: Attributes | None = None,
    targets: Shares | None = None,
) -> Finding:
    """Types as planned, no topic too large, demographics as in the tables.

    `planned` counts the planned questions of each type, `questions` are the admitted ones; `persons` are the dataset's,
    `others` the other split's, with whom they are compared for information.
    """
    admitted = Counter(question.pref_type for question in questions)
    shifts = type_shifts(planned, admitted)
    scale = admitted.total() / max(1, sum(planned.values()))
    problems = [
        f"type {name}: {shift:+.3f} of its planned share, over {config.max_type_shift}"
        for name, shift in shifts.items()
        if abs(shift) > config.max_type_shift and not _by_chance(admitted[name], planned.get(name, 0) * scale)
    ]
    topics = {topic: round(count / len(questions), 4) for topic, count in topic_counts(questions).items()}
    problems += [
        f"topic {topic}: {share:.3f} of the questions, over {config.max_topic_share}"
        for topic, share in topics.items()
        if share > config.max_topic_share
    ]
    demographics: Any = NO_TARGETS
    if targets:
        demographics = {
            name: compare(shares, _values(persons, attributes, name), _values(others, attributes, name))
            for name, shares in sorted(targets.items())
        }
        problems += _demographic_problems(demographics, config)
    facts = {
        "type_shift": shifts,
        "largest_topic": next(iter(topics), None),
        "largest_topic_share": next(iter(topics.values()), None),
        "demographics": demographics,
        "unbalanced": problems,
    }
    return Finding(name="balanced", passed=not problems, facts=facts)


def type_shifts(planned: Mapping[str, int], admitted: Mapping[str, int]) -> dict[str, float]:
    """By which part of its planned share each type's share among the admitted questions misses it: -1 is a type that is
    gone, however rare it was to be; 1 is twice its share (or a type that nobody planned)."""
    before, after = sum(planned.values()), sum(admitted.values())
    shifts: dict[str, float] = {}
    for name in sorted({*planned, *admitted}):
        wanted, found = planned.get(name, 0) / max(1, before), admitted.get(name, 0) / max(1, after)
        shifts[name] = round(found / wanted - 1, 4) if wanted else 1.0
    return shifts


def _by_chance(count: int, expected: float) -> bool:
    """Whether a count is within two standard deviations (of a Poisson count) of what was to be expected: of three planned
    rows one more or less is a third, and says nothing."""
    return abs(count - expected) <= 2 * math.sqrt(expected)


def compare(target: Mapping[str, float], values: Sequence[str | None], others: Sequence[str | None]) -> dict[str, Any]:
    """Chi-square goodness of fit of one attribute's values to its target shares.

    Cells that expect fewer than `LEAST_EXPECTED` persons are merged, the rarest first. `p` is None when that leaves one
    cell: too few persons to tell. `unknown` counts values that the table does not have, and persons without attributes;
    they are left out of the test. `distance_to_other_split` is the total variation distance between the splits (0 to 1).
    """
    known = Counter(value for value in values if value is not None and target.get(value, 0) > 0)
    size, whole = sum(known.values()), sum(target.values())
    expected = {value: size * share / whole for value, share in target.items() if share > 0}
    cells = merged_cells(expected, known)
    result: dict[str, Any] = {
        "persons": len(values),
        "unknown": len(values) - size,
        "cells": len(cells),
        "p": None,
        "distance_to_other_split": _distance(values, others),
    }
    if len(cells) > 1:
        # Imported here: scipy takes a second.
        from scipy.stats import chisquare

        test = chisquare([count for _, count in cells.values()], [wanted for wanted, _ in cells.values()])
        result["p"] = float(f"{test.pvalue:.4g}")
    return result


def merged_cells(expected: Mapping[str, float], counts: Mapping[str, int]) -> dict[str, tuple[float, int]]:
    """Value -> (expected, found), with the rarest values as one cell until every cell expects enough."""
    order = sorted(expected, key=lambda value: (expected[value], value))
    rare: list[str] = []
    while order and (
        expected[order[0]] < LEAST_EXPECTED or 0 < sum(expected[value] for value in rare) < LEAST_EXPECTED
    ):
        rare.append(order.pop(0))
    cells = {value: (expected[value], counts.get(value, 0)) for value in order}
    if rare:
        cells[RARE] = (sum(expected[value] for value in rare), sum(counts.get(value, 0) for value in rare))
    return cells


def _demographic_problems(demographics: Mapping[str, Mapping[str, Any]], config: QuestionsConfig) -> list[str]:
    problems = []
    for name, result in demographics.items():
        if result["p"] is not None and result["p"] < config.min_demographics_p:
            problems.append(
                f"{name}: chi-square p {result['p']:.2g} against its table, under {config.min_demographics_p}"
            )
        if result["unknown"]:
            problems.append(f"{name}: {result['unknown']} of {result['persons']} persons have no value of its table")
    return problems


def _values(persons: Iterable[str], attributes: Attributes | None, name: str) -> list[str | None]:
    """Of each person: "" where the attribute was left open, None for a person who has no attributes at all."""
    known = attributes or {}
    return [known[person].get(name, "") if person in known else None for person in persons]


def _distance(one: Sequence[str | None], two: Sequence[str | None]) -> float | None:
    if not one or not two:
        return None
    first, second = Counter(one), Counter(two)
    gaps = (abs(first[value] / len(one) - second[value] / len(two)) for value in first | second)
    return round(sum(gaps) / 2, 4)
