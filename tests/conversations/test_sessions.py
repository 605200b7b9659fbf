"""When and how preferences are given away."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest

from personamem_pipeline.conversations.plan import SessionPlan, plan_sessions
from personamem_pipeline.conversations.sessions import SessionReply, WrittenMessage, find_problem, write_sessions
from personamem_pipeline.records import CONVERSATION_TYPES, Event, Persona, Session
from tests.rooms import CONVERSATIONS, rooms, simulator


def sessions_of(persona: Persona) -> list[Session]:
    return [session for session in rooms().sessions if session.person_id == persona.person_id]


def test_each_preference_once_in_an_order_that_makes_sense() -> None:
    chains = 0
    for persona in rooms().personas:
        own = sessions_of(persona)
        place = {(session.event, session.preference_id): index for index, session in enumerate(own)}
        expected: Counter[Event] = Counter(small_talk=CONVERSATIONS.small_talk)
        for preference in persona.preferences:
            key = preference.preference_id
            event: Event = "updates" if preference.replaces else "reveals"
            expected[event] += 1
            if preference.replaces:
                chains += 1
                assert place["updates", key] > place["reveals", preference.replaces]
            else:
                assert ("reveals", key) in place
            if preference.forgotten:
                chains += 1
                expected["forgets"] += 1
                assert place["forgets", key] > place[event, key]
        assert Counter(session.event for session in own) == expected
        days = [date.fromisoformat(session.time) for session in own]
        assert days == sorted(set(days))
    assert chains > 15


def test_where_something_happens_says_nothing_about_what_happens() -> None:
    first = Counter(sessions_of(persona)[0].event for persona in rooms().personas)
    last = Counter(sessions_of(persona)[-1].event for persona in rooms().personas)
    assert len(first) >= 2
    assert len(last) >= 3
    revealed_first = [next(s for s in sessions_of(p) if s.event == "reveals").preference_id for p in rooms().personas]
    assert len({(key or "").partition(".")[2] for key in revealed_first}) >= 3


def test_ids_say_where_a_turn_is() -> None:
    for session in rooms().sessions:
        assert session.session_id.startswith(f"{session.person_id}.s")
        assert [m.turn_id for m in session.messages] == [
            f"{session.session_id}.m{index}" for index in range(len(session.messages))
        ]
        assert bool(session.evidence) == (session.event != "small_talk")
        assert set(session.evidence) <= {m.turn_id for m in session.messages if m.role == "user"}
        assert session.author == "simulator/1"


def test_unseen_wordings_only_where_they_may_be() -> None:
    unseen = [session for session in rooms().sessions if session.wording == "unseen"]
    assert unseen
    preferences = {p.preference_id: p for persona in rooms().personas for p in persona.preferences}
    for session in unseen:
        assert session.person_id.startswith("b")
        assert session.event in ("reveals", "updates")
        preference = preferences[session.preference_id or ""]
        assert (preference.who, preference.pref_type != "sensitive_info") == ("self", True)


def test_a_share_of_wordings_shifts_nothing_else() -> None:
    persona = rooms().personas[-1]
    none = plan_sessions(persona, CONVERSATIONS.model_copy(update={"unseen_wording": 0.0}), 0)
    many = plan_sessions(persona, CONVERSATIONS.model_copy(update={"unseen_wording": 1.0}), 0)
    assert {plan.wording for plan in none} == {"seen"}
    assert [(p.session_id, p.time, p.conversation_type) for p in none] == [
        (p.session_id, p.time, p.conversation_type) for p in many
    ]


def test_types_are_spread_evenly_and_a_bare_question_carries_only_own_interests() -> None:
    counts: Counter[str] = Counter()
    for persona in rooms().personas:
        for seed in range(20):
            for plan in plan_sessions(persona, CONVERSATIONS, seed):
                assert plan.preference is None or plan.session_id
                if plan.preference is None or plan.event == "forgets" or plan.preference.pref_type == "sensitive_info":
                    continue
                counts[plan.conversation_type] += 1
                if plan.conversation_type == "knowledge_query":
                    assert plan.event == "reveals"
                    assert plan.preference.who == "self"
                    assert plan.preference.pref_type != "therapy_background"
    assert set(counts) == set(CONVERSATION_TYPES)
    even = sum(counts.values()) / 9
    assert all(0.6 * even < count < 1.3 * even for count in counts.values()), counts


def test_writing_is_reproducible_and_does_not_depend_on_the_neighbours() -> None:
    alone, rejected = write_sessions(rooms().personas[3:4], CONVERSATIONS, simulator(), 0)
    assert alone == sessions_of(rooms().personas[3])
    assert rejected == []


def plan(event: Event) -> SessionPlan:
    return SessionPlan("t.s0", "2025-01-01", "chat_message", event, None, None, "seen")


def message(role: str, evidence: bool) -> WrittenMessage:
    return WrittenMessage.model_validate({"role": role, "content": "x", "evidence": evidence})


@pytest.mark.parametrize(
    ("event", "messages", "problem"),
    [
        ("reveals", [message("user", True), message("assistant", False)], ""),
        ("reveals", [message("user", False), message("assistant", False)], "no evidence"),
        ("updates", [message("user", False), message("assistant", True)], "assistant message"),
        ("small_talk", [message("user", True), message("assistant", False)], "gives something away"),
        ("small_talk", [message("user", False), message("assistant", False)], ""),
        ("reveals", [message("assistant", False), message("user", True)], "not a conversation"),
        ("reveals", [message("user", True)], "not a conversation"),
    ],
)
def test_a_session_that_would_measure_nothing_is_rejected(
    event: Event, messages: list[WrittenMessage], problem: str
) -> None:
    found = find_problem(SessionReply(messages=messages), plan(event))
    assert problem in found
    assert bool(problem) == bool(found)
