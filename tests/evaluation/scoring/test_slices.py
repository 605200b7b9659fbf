from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.evaluation.records import Answer
from personamem_pipeline.evaluation.scoring.slices import (
    MOST_TOPICS,
    OTHER_TOPICS,
    distance_bins,
    slice_groups,
    slices,
    stereotype_gap,
)
from tests.evaluation.scoring.made import BOUNDS, row, rows

STEREO, ANTI = {"pref_type": "stereotypical_pref"}, {"pref_type": "anti_stereotypical_pref"}


def found(answers: list[Answer]) -> dict[str, dict[str, dict]]:
    made = rows(answers)
    return {name: {r["value"]: r for r in own} for name, own in slices(made, slice_groups(made)).items()}


def test_slices_by_hand() -> None:
    answers = [
        row("q1", "p1", "a", **STEREO),
        row("q1", "p1", "a", order=1, **STEREO),
        row("q2", "p1", "b", wording="unseen", updated=True, distance=-1, **ANTI),
        row("q3", "p2", "b", who="others", topic="tea", distance=90, **STEREO),
        row("q4", "p2", "a", **ANTI),
    ]
    own = found(answers)
    assert {v: (r["accuracy"], r["n"], r["questions"], r["persons"]) for v, r in own["type"].items()} == {
        "stereotypical_pref": (2 / 3, 3, 2, 2),
        "anti_stereotypical_pref": (0.5, 2, 2, 2),
    }
    assert {value: r["accuracy"] for value, r in own["wording"].items()} == {"seen": 3 / 4, "unseen": 0.0}
    assert {value: r["accuracy"] for value, r in own["topic"].items()} == {"t": 3 / 4, "tea": 0.0}
    assert set(own["whose"]) == {"self", "others"} and set(own["conversation"]) == {"translation"}
    assert list(own["distance"]) == ["4 messages", "90 messages", "not located"]
    assert own["updated"]["updated"]["low"] is None  # one person
    assert 0 <= own["type"]["stereotypical_pref"]["low"] < 2 / 3 < own["type"]["stereotypical_pref"]["high"] <= 1


def test_quarters_of_the_distances() -> None:
    bins = distance_bins([0, 10, 20, 30, 40, 50, 60, 70])
    assert list(dict.fromkeys(bins.values())) == ["0-10 messages", "20-30 messages", "40-50 messages", "60-70 messages"]
    assert distance_bins([5, 5, 5, 5, 7]) == {5: "5 messages", 7: "7 messages"}
    assert distance_bins([-1, -1]) == {-1: "not located"}


@given(st.lists(st.integers(-1, 300), min_size=1, max_size=60))
def test_bins_hold_every_distance_in_order(distances: list[int]) -> None:
    bins = distance_bins(distances)
    assert set(bins) == set(distances)
    located = [distance for distance in bins if distance >= 0]
    assert located == sorted(located)
    assert len({bins[distance] for distance in located}) <= 4


LABELS = st.fixed_dictionaries({
    "pref_type": st.sampled_from(["stereotypical_pref", "sensitive_info"]), "who": st.sampled_from(["self", "others"]),
    "updated": st.booleans(), "topic": st.sampled_from(["x", "y", "z"]), "distance": st.integers(-1, 9),
})  # fmt: skip


@given(st.lists(st.tuples(st.booleans(), LABELS), min_size=1, max_size=30))
def test_slices_of_a_dimension_partition_the_answers(items: list[tuple[bool, dict]]) -> None:
    answers = [row(f"q{at}", f"p{at % 3}", "a" if right else "b", **own) for at, (right, own) in enumerate(items)]
    for own in found(answers).values():
        assert sum(r["n"] for r in own.values()) == sum(r["questions"] for r in own.values()) == len(answers)
        assert all(r["n"] > 0 for r in own.values())
        right = sum(r["accuracy"] * r["n"] for r in own.values())
        assert right == pytest.approx(sum(answer.correct for answer in answers))


def test_rare_topics_share_a_slice() -> None:
    answers = [row(f"q{at}", "p", "a", topic=f"t{at:03}") for at in range(MOST_TOPICS + 5)]
    own = found([*answers, row("more", "p", "b", topic="t044")])["topic"]
    assert len(own) == MOST_TOPICS + 1
    assert "t044" in own and own["t044"]["n"] == 2
    assert own[OTHER_TOPICS]["n"] == 5


def test_the_gap_is_of_the_same_persons() -> None:
    answers = [
        row("q1", "p1", "a", **STEREO), row("q2", "p1", "b", **ANTI), row("q3", "p2", "a", **STEREO),
        row("q4", "p2", "a", **ANTI), row("q5", "p3", "b", **ANTI), row("q6", "p4", "b"),
    ]  # fmt: skip
    gap = stereotype_gap(rows(answers), **BOUNDS)
    assert gap is not None
    assert (gap["stereotypical"], gap["anti_stereotypical"]) == (1.0, 1 / 3)
    assert gap["gap"] == pytest.approx(2 / 3)
    assert gap["low"] <= gap["gap"] <= gap["high"]
    assert stereotype_gap(rows(answers[:1]), **BOUNDS) is None
    alone = stereotype_gap(rows(answers[:2]), **BOUNDS)
    assert alone is not None and (alone["gap"], alone["low"], alone["high"]) == (1.0, None, None)
