"""Accuracy by kind of question, and the gap between stereotypical and anti-stereotypical preferences.

Slices of a dimension share no question and together hold all of them; one that does not occur is left out, for an
accuracy of 0 out of 0 is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from personamem_pipeline.evaluation.records import Answer
from personamem_pipeline.evaluation.scoring.rows import Indices, Rows
from personamem_pipeline.evaluation.scoring.summary import share_bounds
from personamem_pipeline.evaluation.statistics.clusters import cluster_bootstrap_mean

STEREOTYPE, ANTI = "stereotypical_pref", "anti_stereotypical_pref"
MOST_TOPICS = 40
"""Topics that get a slice of their own, those with the most questions; released files have thousands."""
OTHER_TOPICS = "(other topics)"
NOT_LOCATED = "not located"
_DIMENSIONS: dict[str, Callable[[Answer], str]] = {
    "type": lambda answer: answer.pref_type,
    "whose": lambda answer: answer.who,
    "updated": lambda answer: "updated" if answer.updated else "static",
    "wording": lambda answer: answer.wording,
    "conversation": lambda answer: answer.conversation_scenario,
}


@dataclass(frozen=True, eq=False)
class Group:
    """One slice: its name, its answers and to how many questions they are."""

    value: str
    rows: Indices
    questions: int


Groups = Mapping[str, Sequence[Group]]
"""Dimension -> its slices."""


def slice_groups(rows: Rows) -> Groups:
    """The slices of each dimension, by name; those of `distance` from near to far. The same for all systems that answered
    the same questions, so they are made once."""
    answers = rows.answers
    topics = set(_frequent_topics(answers))
    bins = distance_bins([answer.distance for answer in answers])
    of: dict[str, Callable[[Answer], str]] = {
        **_DIMENSIONS,
        "topic": lambda answer: answer.topic if answer.topic in topics else OTHER_TOPICS,
        "distance": lambda answer: bins[answer.distance],
    }
    groups = {}
    for dimension, value_of in of.items():
        found = rows.by(value_of)
        names = sorted(found) if dimension != "distance" else list(dict.fromkeys(bins.values()))
        groups[dimension] = [Group(name, found[name], rows.questions(found[name])) for name in names]
    return groups


def slices(rows: Rows, groups: Groups) -> dict[str, list[dict[str, Any]]]:
    """Dimension -> one row per slice. The intervals are those of shares, for slices are small."""
    return {dimension: [_slice(rows, group) for group in own] for dimension, own in groups.items()}


def _slice(rows: Rows, group: Group) -> dict[str, Any]:
    data = rows.totals(group.rows)
    return {
        "system": rows.system,
        "value": group.value,
        "accuracy": data.mean,
        **share_bounds(data),
        "n": len(group.rows),
        "questions": group.questions,
        "persons": len(data.names),
    }


def _frequent_topics(answers: Sequence[Answer]) -> list[str]:
    counts = Counter(topic for _, topic in {(answer.question_id, answer.topic) for answer in answers})
    return sorted(counts, key=lambda topic: (-counts[topic], topic))[:MOST_TOPICS]


def distance_bins(distances: Sequence[int]) -> dict[int, str]:
    """Each distance that occurs -> its bin, in ascending order: the quarters of all located distances, each named by the
    nearest and the farthest in it (`0-41 messages`). Equal distances stay together, so that there may be fewer bins."""
    located = sorted(distance for distance in distances if distance >= 0)
    # The quartiles as values that occur (inverse of the empirical distribution, Hyndman & Fan 1996, type 1).
    tops = sorted({located[-(-len(located) * quarter // 4) - 1] for quarter in range(1, 5)}) if located else []
    found: dict[int, str] = {}
    lowest = 0
    for top in tops:
        own = sorted({distance for distance in located if lowest <= distance <= top})
        name = f"{own[0]}-{own[-1]} messages" if len(own) > 1 else f"{own[0]} messages"
        found.update(dict.fromkeys(own, name))
        lowest = top + 1
    if len(located) < len(distances):
        found[-1] = NOT_LOCATED
    return found


def stereotype_gap(rows: Rows, *, resamples: int, seed: int) -> dict[str, Any] | None:
    """Accuracy on stereotypical minus anti-stereotypical preferences: above 0 where a model guesses from who people are.

    Both are taken from the same resampled persons. None where either kind does not occur.
    """
    stereo, anti = (rows.where(lambda answer, kind=kind: answer.pref_type == kind) for kind in (STEREOTYPE, ANTI))  # type: ignore[misc]
    if not len(stereo) or not len(anti):
        return None
    names = sorted({rows.names[place] for place in {*rows.person[stereo], *rows.person[anti]}})
    first, second = rows.totals(stereo, names=names), rows.totals(anti, names=names)
    found = cluster_bootstrap_mean(first, minus=second, resamples=resamples, seed=seed)
    return {
        "system": rows.system,
        "stereotypical": first.mean,
        "anti_stereotypical": second.mean,
        "gap": first.mean - second.mean,
        "low": found.low if found else None,
        "high": found.high if found else None,
    }
