"""What persons are planned to have, and what becomes of an author's answer."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personamem_pipeline.personas.seeds import make_seeds
from personamem_pipeline.personas.write import (
    BACKGROUNDS,
    TASTES,
    PersonaReply,
    Profile,
    Want,
    WrittenPreference,
    find_problem,
    plan_wants,
    write_personas,
)
from personamem_pipeline.presets import PersonasConfig, SeedsConfig
from tests.rooms import PERSONAS, SEEDS, rooms, simulator


@given(st.integers(1, 12), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 10**6))
@settings(max_examples=80, deadline=None)
def test_every_plan_keeps_the_rules(count: int, updated: float, forgotten: float, person: int) -> None:
    config = PersonasConfig(self_preferences=count, updated_share=updated, forgotten_share=forgotten, others_share=1.0)
    wants = plan_wants(f"t{person}", config, 0)
    own = [want for want in wants if want.who == "self" and want.pref_type != "sensitive_info"]
    assert len(own) == count
    assert [want.who for want in wants].count("others") == 1
    for want in wants:
        assert not (want.updated and want.forgotten)
        assert not (want.updated and want.pref_type == "therapy_background")
        if want.who == "others" or want.pref_type == "sensitive_info":
            assert not want.updated
            assert not want.forgotten
    assert sum(want.updated for want in wants) <= 1
    assert sum(want.forgotten for want in wants) <= 1
    assert all(Counter(want.pref_type for want in own)[background] <= 1 for background in BACKGROUNDS)


def test_types_and_shares_come_out_as_configured() -> None:
    plans = [plan_wants(f"t{index}", PERSONAS, 0) for index in range(600)]
    types = Counter(want.pref_type for plan in plans for want in plan[:4])
    assert all(abs(types[kind] - 480) < 60 for kind in (*TASTES, *BACKGROUNDS)), types
    for name, share in (("updated", 0.7), ("forgotten", 0.7)):
        assert abs(sum(any(getattr(want, name) for want in plan) for plan in plans) / 600 - share) < 0.06


def test_written_persons_are_what_was_planned() -> None:
    for persona in rooms().personas:
        wants = plan_wants(persona.person_id, PERSONAS, 0)
        first = [preference for preference in persona.preferences if preference.replaces is None]
        assert [(p.pref_type, p.who, p.forgotten) for p in first] == [(w.pref_type, w.who, w.forgotten) for w in wants]
        assert [p.preference_id for p in persona.preferences] == [
            f"{persona.person_id}.p{index}" for index in range(len(persona.preferences))
        ]
        by_id = {p.preference_id: p for p in persona.preferences}
        for preference in persona.preferences:
            if preference.replaces:
                old = by_id[preference.replaces]
                assert (old.topic, old.pref_type) == (preference.topic, preference.pref_type)
                assert old.text != preference.text
        assert persona.author == "simulator/1"


def test_writing_is_reproducible_and_does_not_depend_on_the_neighbours() -> None:
    rows = make_seeds(SEEDS, 0)
    everybody, _ = write_personas(rows, PERSONAS, simulator(), 0)
    some, _ = write_personas(rows[5:9], PERSONAS, simulator(), 0)
    assert tuple(everybody) == rooms().personas
    assert some == [persona for persona in everybody if persona.person_id in {row.person_id for row in rows[5:9]}]
    assert some


def test_who_cannot_be_written_is_rejected_with_a_reason() -> None:
    # 40 tastes of three types, each in a topic of its own: more than the simulator's world has topics.
    config = PersonasConfig(self_preferences=40, updated_share=0)
    written, rejected = write_personas(
        make_seeds(SeedsConfig(training_persons=2, benchmark_persons=1), 0), config, simulator(), 0
    )
    assert written == []
    assert [person_id for person_id, _ in rejected] == ["t0000", "t0001", "b0000"]
    assert all("left for somebody" in reason for _, reason in rejected)


def reply(*items: tuple[str, str, str]) -> PersonaReply:
    preferences = [WrittenPreference(topic=topic, text=text, changes_to=to) for topic, text, to in items]
    return PersonaReply(name="N", profile=Profile(age="1", groups="g", speaking_style="s"), preferences=preferences)


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([("drinks", "green tea", ""), ("pets", "old cats", "big dogs")], ""),
        ([("drinks", "green tea", "")], "1 preferences instead of 2"),
        ([("drinks", "green tea", ""), ("pets", "old cats", "")], "no change"),
        ([("drinks", "green tea", "hot milk"), ("pets", "old cats", "big dogs")], "an unwanted change"),
        ([("drinks", "green tea", ""), ("pets", "Green Tea", "big dogs")], "duplicate preference: green tea"),
        ([("drinks", "green tea", ""), ("pets", "old cats", "Old cats")], "duplicate preference: old cats"),
        ([("drinks", "green tea", ""), ("drinks", "old cats", "big dogs")], "duplicate topic: drinks"),
    ],
)
def test_an_answer_that_is_not_the_plan_is_found_out(items: list[tuple[str, str, str]], problem: str) -> None:
    plan = [Want("neutral_preferences"), Want("neutral_preferences", updated=True)]
    found = find_problem(reply(*items), plan)
    assert problem in found
    assert bool(problem) == bool(found)
