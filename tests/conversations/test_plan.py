"""When and how preferences are given away."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personamem_pipeline.conversations.plan import ASPECTS, SENSITIVE_TYPES, SessionPlan, plan_sessions
from personamem_pipeline.llm.simulator import sessions as simulator_sessions
from personamem_pipeline.presets import ConversationsConfig
from personamem_pipeline.records import CONVERSATION_TYPES, Persona, Preference

SHORT = ConversationsConfig(small_talk=2, unseen_wording=0.4)
LONG = ConversationsConfig(small_talk=6, unseen_wording=0.4, length="long", knowledge_repeats=6, extended_share=0.33)


def person(number: int, split: str = "benchmark", own: int = 6, changes: int = 3) -> Persona:
    """Somebody whose first `changes` preferences change, the first of them twice, and who wants some forgotten."""
    kinds = ("neutral_preferences", "stereotypical_pref", "therapy_background", "health_and_medical_conditions")
    preferences = [
        Preference.model_validate({
            "preference_id": f"b{number}.p{i}", "topic": f"topic {i}", "text": f"thing {i}",
            "pref_type": "neutral_preferences" if i < changes else kinds[(number + i) % 4],
            "forgotten": i >= changes and (number + i) % 3 == 0,
        })
        for i in range(own)
    ]  # fmt: skip
    for i in range(changes):
        preferences.append(_change(preferences[i], f"b{number}.p{own + i}", forgotten=i == 1))
    if changes:
        preferences.append(_change(preferences[own], f"b{number}.p{own + changes}", forgotten=False))
    values: dict[str, str] = {"pref_type": "neutral_preferences", "who": "others"}
    preferences.append(
        Preference.model_validate({"preference_id": f"b{number}.o", "topic": "o", "text": "o", **values})
    )
    values = {"pref_type": "sensitive_info", "preference_id": f"b{number}.x"}
    preferences.append(Preference.model_validate({"topic": "door code", "text": "K11-222", **values}))
    return Persona(
        person_id=f"b{number}", split=split, seed_persona="s", name="n", profile={},
        preferences=tuple(preferences), author="test",
    )  # fmt: skip


def _change(old: Preference, key: str, forgotten: bool) -> Preference:
    changes = {"preference_id": key, "replaces": old.preference_id, "text": f"not {old.text}", "forgotten": forgotten}
    return old.model_copy(update=changes)


@given(st.integers(0, 10**6), st.integers(0, 5), st.integers(1, 6), st.sampled_from([SHORT, LONG]))
@settings(max_examples=60, deadline=None)
def test_everything_once_in_an_order_that_makes_sense(
    number: int, changes: int, repeats: int, config: ConversationsConfig
) -> None:
    someone = person(number, changes=changes)
    config = config.model_copy(update={"knowledge_repeats": repeats})
    plans = plan_sessions(someone, config, 0)
    times = [datetime.fromisoformat(plan.time) for plan in plans]
    assert times == sorted(times)
    assert len({time.date() for time in times}) == len(times), "each on a day of its own"
    assert all(7 <= time.hour < 23 for time in times)
    assert [plan.session_id for plan in plans] == [f"{someone.person_id}.s{i:02d}" for i in range(len(plans))]
    assert sum(plan.event == "small_talk" for plan in plans) == config.small_talk
    place: dict[tuple[str, str], list[int]] = {}
    for index, plan in enumerate(plans):
        if plan.preference:
            place.setdefault((plan.event, plan.preference.preference_id), []).append(index)
    for preference in someone.preferences:
        key = preference.preference_id
        revealed = place.pop(("updates" if preference.replaces else "reveals", key))
        kinds = {plans[index].conversation_type for index in revealed}
        assert len(revealed) == 1 or (kinds == {"knowledge_query"} and len(revealed) <= repeats)
        assert [plans[index].repeat for index in revealed] == list(range(len(revealed)))
        if preference.replaces:
            before = max(i for i, p in enumerate(plans) if _reveals(p, preference.replaces))
            assert revealed[0] > before
            assert plans[revealed[0]].previous == next(
                p for p in someone.preferences if p.preference_id == preference.replaces
            )
        if preference.forgotten:
            (forgets,) = place.pop(("forgets", key))
            assert forgets > revealed[-1]
    assert not place, "nothing is revealed that is not there"


def _reveals(plan: SessionPlan, key: str) -> bool:
    return bool(plan.event in ("reveals", "updates") and plan.preference and plan.preference.preference_id == key)


def test_a_knowledge_query_comes_back_up_to_n_times_each_time_about_another_side() -> None:
    assert set(simulator_sessions.ASKED_AGAIN) == set(ASPECTS)
    counts: Counter[int] = Counter()
    config = LONG.model_copy(update={"knowledge_repeats": 4})
    for number in range(60):
        asked: dict[str, list[str]] = {}
        for plan in plan_sessions(person(number), config, 0):
            if plan.event == "reveals" and plan.conversation_type == "knowledge_query":
                assert plan.preference
                assert plan.preference.who == "self"
                asked.setdefault(plan.preference.preference_id, []).append(plan.aspect)
            else:
                assert (plan.repeat, plan.aspect) == (0, "")
        for aspects in asked.values():
            assert len(set(aspects)) == len(aspects)
            assert set(aspects) <= set(ASPECTS)
            counts[len(aspects)] += 1
    assert set(counts) == {1, 2, 3, 4}
    assert max(counts.values()) < 2.5 * min(counts.values())


def test_options_shift_nothing_else() -> None:
    for number in range(20):
        someone = person(number)
        plain = plan_sessions(someone, SHORT, 0)
        extended = plan_sessions(someone, SHORT.model_copy(update={"extended_share": 1.0}), 0)
        assert [replace(plan, exchanges=1) for plan in extended] == [replace(plan, exchanges=1) for plan in plain]
        assert {plan.exchanges for plan in extended} == {2, 3}
        assert all(plan.exchanges == (2 if plan.event == "forgets" else 1) for plan in plain)
        unseen = plan_sessions(someone, SHORT.model_copy(update={"unseen_wording": 1.0}), 0)
        assert [replace(plan, wording="seen") for plan in unseen] == [replace(plan, wording="seen") for plan in plain]
        long = plan_sessions(someone, SHORT.model_copy(update={"length": "long"}), 0)
        kinds = [(a.conversation_type, b.conversation_type) for a, b in zip(plain, long, strict=True)]
        for plan, (short_type, long_type) in zip(plain, kinds, strict=True):
            sensitive = plan.preference and plan.preference.pref_type == "sensitive_info"
            assert short_type == long_type or plan.event == "small_talk" or sensitive


def test_the_share_of_longer_talks_is_what_was_asked_for() -> None:
    plans = [plan for number in range(150) for plan in plan_sessions(person(number), LONG, 0)]
    open_ended = [plan for plan in plans if plan.event != "forgets"]
    assert 0.29 < sum(plan.exchanges > 1 for plan in open_ended) / len(open_ended) < 0.37


def test_unseen_wordings_only_where_they_may_be() -> None:
    config = SHORT.model_copy(update={"unseen_wording": 1.0})
    for number in range(20):
        assert all(plan.wording == "seen" for plan in plan_sessions(person(number, "training"), config, 0))
        for plan in plan_sessions(person(number), config, 0):
            about = plan.preference
            may = plan.event in ("reveals", "updates") and about is not None
            may = bool(may and about and about.who == "self" and about.pref_type != "sensitive_info")
            assert (plan.wording == "unseen") == may


@pytest.mark.parametrize("config", [SHORT, LONG.model_copy(update={"knowledge_repeats": 1})], ids=["short", "long"])
def test_types_are_spread_evenly_and_a_bare_question_carries_only_own_interests(config: ConversationsConfig) -> None:
    counts: Counter[str] = Counter()
    talk: Counter[str] = Counter()
    values: Counter[str] = Counter()
    for number in range(80):
        for plan in plan_sessions(person(number, changes=1), config, 0):
            about = plan.preference
            if plan.event == "small_talk":
                talk[plan.conversation_type] += 1
            elif about and about.pref_type == "sensitive_info":
                values[plan.conversation_type] += 1
            elif plan.event != "forgets" and about:
                counts[plan.conversation_type] += 1
                if plan.conversation_type == "knowledge_query":
                    assert plan.event == "reveals"
                    assert (about.who, about.pref_type == "therapy_background") == ("self", False)
    for spread in (counts, talk) if config.length == "long" else (counts,):
        assert set(spread) == set(CONVERSATION_TYPES)
        even = sum(spread.values()) / 9
        assert all(0.6 * even < count < 1.3 * even for count in spread.values()), spread
    assert set(values) == (set(SENSITIVE_TYPES) if config.length == "long" else {"professional_writing"})


def test_where_something_happens_says_nothing_about_what_happens() -> None:
    plans = [plan_sessions(person(number), SHORT, 0) for number in range(40)]
    assert len({own[0].event for own in plans}) >= 2
    assert len({own[-1].event for own in plans}) >= 3
    first = [next(p for p in own if p.event == "reveals").preference for own in plans]
    assert len({preference.preference_id.partition(".")[2] for preference in first if preference}) >= 4
