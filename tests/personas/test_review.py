"""Duplicates and contradictions: what is found in code, what a reader's word does, and that nothing else changes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personamem_pipeline.personas.review import Problem, ReviewReply, distrust, repeated, review_prompt, without
from personamem_pipeline.records import Persona, Preference, PreferenceType, Who


def item(
    number: int, text: str, *, replaces: int | None = None, who: Who = "self",
    pref_type: PreferenceType = "neutral_preferences",
) -> Preference:  # fmt: skip
    return Preference(
        preference_id=f"t0.p{number}", topic=f"topic {number}", text=text, pref_type=pref_type, who=who,
        replaces=None if replaces is None else f"t0.p{replaces}",
    )  # fmt: skip


def person(*preferences: Preference) -> Persona:
    return Persona(
        person_id="t0", split="training", seed_persona="A baker.", name="A B", profile={}, preferences=preferences,
        author="a",
    )  # fmt: skip


def problem(first: int, second: int, kind: str = "conflict") -> Problem:
    return Problem.model_validate({"first": f"t0.p{first}", "second": f"t0.p{second}", "kind": kind, "why": "so"})


PREFERENCES = (
    item(0, "green tea"),
    item(1, "black coffee", replaces=0),
    item(2, "old cats"),
    item(3, "wild dogs", replaces=2),
    item(4, "night trains", who="others"),
    item(5, "T12-345", pref_type="sensitive_info"),
)


@pytest.mark.parametrize(
    ("preferences", "pairs"),
    [
        (PREFERENCES, []),
        ((item(0, "green tea"), item(1, "Green-Tea")), [("t0.p0", "t0.p1")]),
        ((item(0, "green tea"), item(1, "tea, green", who="others")), [("t0.p0", "t0.p1")]),
        ((item(0, "long slow morning runs"), item(1, "long slow morning runs alone")), [("t0.p0", "t0.p1")]),
        ((item(0, "long morning runs"), item(1, "long morning walks")), []),
        ((item(0, "long slow morning runs"), item(1, "long slow morning runs alone", replaces=0)), []),
        ((item(0, "T1", pref_type="sensitive_info"), item(1, "T1", pref_type="sensitive_info")), []),
        (
            (item(0, "tea"), item(1, "tea"), item(2, "tea")),
            [("t0.p0", "t0.p1"), ("t0.p0", "t0.p2"), ("t0.p1", "t0.p2")],
        ),
    ],
)
def test_the_same_words_are_found(preferences: tuple[Preference, ...], pairs: list[tuple[str, str]]) -> None:
    assert [(found.first, found.second) for found in repeated(preferences)] == pairs


@pytest.mark.parametrize(
    ("problems", "left"),
    [
        ([], "012345"),
        ([problem(0, 2)], "0145"),  # the later one goes, and what replaces it
        ([problem(2, 0)], "0145"),  # in whatever order they are named
        ([problem(1, 3)], "01245"),  # a successor alone: the person does not change after all
        ([problem(0, 1)], "012345"),  # that contradiction was asked for
        ([problem(0, 2), problem(2, 4)], "0145"),  # the second problem is gone with the first
        ([problem(2, 4), problem(0, 2)], "0145"),
        ([problem(0, 4), problem(0, 4, "duplicate")], "01235"),
    ],
)
def test_the_later_one_goes_and_is_kept_as_a_rejection(problems: list[Problem], left: str) -> None:
    kept, rejections = without(person(*PREFERENCES), problems)
    assert "".join(p.preference_id[-1] for p in kept.preferences) == left
    assert set(kept.preferences) <= set(PREFERENCES), "those that stay stay as they were"
    assert {row.row_id for row in rejections} | {p.preference_id for p in kept.preferences} == {
        p.preference_id for p in PREFERENCES
    }
    for row in rejections:
        assert row.reason.split(":")[0] in ("conflict", "duplicate")
        assert Preference.model_validate_json(row.content).preference_id == row.row_id


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=12))
@settings(max_examples=150, deadline=None)
def test_whatever_is_named_no_pair_survives_and_none_is_lost(pairs: list[tuple[int, int]]) -> None:
    preferences = [item(i, f"thing {i}", replaces=i - 1 if i in (2, 5, 6) else None) for i in range(8)]
    problems = [problem(a, b) for a, b in pairs if a != b]
    kept, rejections = without(person(*preferences), problems)
    ids = [p.preference_id for p in kept.preferences]
    assert ids == sorted(ids)
    assert len(ids) + len(rejections) == 8
    for found in problems:
        numbers = sorted((int(found.first[-1]), int(found.second[-1])))
        if numbers not in ([1, 2], [4, 5], [5, 6]):
            assert not {found.first, found.second} <= set(ids)
    assert all(p.replaces is None or p.replaces in ids for p in kept.preferences)
    assert without(kept, [])[0] == kept


@pytest.mark.parametrize(
    ("found", "trusted"),
    [
        ([], True),
        ([problem(0, 2)], True),
        ([problem(0, 9)], False),
        ([problem(0, 2), problem(7, 2)], False),
        ([problem(5, 2)], False),  # a private value, which the reader was never shown
        ([problem(2, 2)], False),
    ],
)
def test_a_review_that_names_what_it_cannot_know_is_not_trusted(found: list[Problem], trusted: bool) -> None:
    assert bool(distrust(ReviewReply(problems=found), PREFERENCES)) is not trusted


def test_the_reader_sees_what_replaces_what_and_no_private_value() -> None:
    brief = review_prompt(person(*PREFERENCES), 0).brief
    assert [entry["id"] for entry in brief["preferences"]] == [f"t0.p{number}" for number in range(5)]
    assert brief["preferences"][1] == {"id": "t0.p1", "text": "black coffee", "who": "self", "replaces": "t0.p0"}
    assert "T12-345" not in str(brief)
