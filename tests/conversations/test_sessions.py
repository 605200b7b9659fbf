"""What an author is asked for, and what is let in of what comes back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from personamem_pipeline.conversations import instructions as told
from personamem_pipeline.conversations.plan import plan_sessions
from personamem_pipeline.conversations.sessions import (
    INSTRUCTIONS,
    SessionReply,
    WrittenMessage,
    find_problem,
    write_sessions,
)
from personamem_pipeline.errors import Refused
from personamem_pipeline.llm.client import Endpoint, Prompt
from personamem_pipeline.presets import ConversationsConfig
from personamem_pipeline.records import CONVERSATION_TYPES, Persona, Preference, Session
from tests.conversations.test_plan import LONG, SHORT, SessionPlan, person
from tests.conversations.written import written
from tests.rooms import CONVERSATIONS, simulator

PERSONAS, SESSIONS = written()


def sessions_of(persona: Persona) -> list[Session]:
    return [session for session in SESSIONS if session.person_id == persona.person_id]


def test_ids_say_where_a_turn_is() -> None:
    for session in SESSIONS:
        assert session.session_id.startswith(f"{session.person_id}.s")
        assert [m.turn_id for m in session.messages] == [
            f"{session.session_id}.m{index}" for index in range(len(session.messages))
        ]
        assert bool(session.evidence) == (session.event != "small_talk")
        assert set(session.evidence) <= {m.turn_id for m in session.messages if m.role == "user"}
        assert session.author == "simulator/1"


def test_writing_is_reproducible_and_does_not_depend_on_the_neighbours() -> None:
    alone, rejections = write_sessions(PERSONAS[3:4], CONVERSATIONS, simulator(), 0)
    assert alone == sessions_of(PERSONAS[3])
    assert rejections == []


def test_long_histories_with_all_that_can_happen() -> None:
    personas = PERSONAS[:4]
    written, rejections = write_sessions(personas, LONG, simulator(), 0)
    plans = [plan for persona in personas for plan in plan_sessions(persona, LONG, 0)]
    assert rejections == []
    assert [(s.session_id, s.time, s.repeat, s.event) for s in written] == [
        (p.session_id, p.time, p.repeat, p.event) for p in plans
    ]
    assert all(len(s.messages) == 2 * p.exchanges for s, p in zip(written, plans, strict=True))
    assert any(session.repeat for session in written)
    asked = [m.content for s in written for m in s.messages if m.role == "user"]
    assert len(set(asked)) == len(asked)


class Scripted(Endpoint):
    """An endpoint that answers by a function instead of asking anybody."""

    answer: Callable[[Prompt[Any]], Any]

    def map(self, prompts: Sequence[Prompt[Any]], on_progress: Any = None) -> list[Any]:
        return [self.answer(prompt) for prompt in prompts]


def scripted(answer: Callable[[Prompt[Any]], Any]) -> Endpoint:
    endpoint = Scripted(base_url="http://nowhere", model="m", api_key=None)
    endpoint.answer = answer
    return endpoint


def test_rows_in_are_rows_out_and_rejections_with_what_came_back() -> None:
    good = reply(("user", True, "K11-222"), ("assistant", False, "x"))

    def answer(prompt: Prompt[Any]) -> Any:
        number = int(prompt.key[-2:])
        return Refused(prompt.key, "declined: no", "half an ans") if number % 3 == 0 else good

    personas = [person(1), person(2)]
    sessions, rejections = write_sessions(personas, SHORT, scripted(answer), 0)
    planned = [plan.session_id for someone in personas for plan in plan_sessions(someone, SHORT, 0)]
    assert sorted([s.session_id for s in sessions] + [r.row_id for r in rejections]) == sorted(planned)
    codes = {rejection.reason.partition(": ")[0] for rejection in rejections}
    assert codes == {"declined", "evidence", "exchanges"}
    for rejection in rejections:
        assert rejection.row_id.startswith(f"{rejection.person_id}.s")
        declined = rejection.reason == "declined: no"
        assert rejection.content == ("half an ans" if declined else good.model_dump_json())


def reply(*messages: tuple[str, bool, str]) -> SessionReply:
    return SessionReply(
        messages=[
            WrittenMessage.model_validate({"role": role, "content": content, "evidence": evidence})
            for role, evidence, content in messages
        ]
    )


def plan(event: str, pref_type: str = "neutral_preferences", exchanges: int = 1) -> SessionPlan:
    about = Preference.model_validate(
        {"preference_id": "t.p0", "topic": "drinks", "text": "Green tea", "pref_type": pref_type}
    )
    given: Any = event
    preference = None if event == "small_talk" else about
    return SessionPlan("t.s0", "2025-01-01T10:00", "chat_message", given, preference, None, "seen", exchanges=exchanges)


U, E, A = ("user", False, "x"), ("user", True, "x"), ("assistant", False, "x")


@pytest.mark.parametrize(
    ("planned", "messages", "problem"),
    [
        (plan("reveals"), [E, A], ""),
        (plan("reveals"), [E, A, U, A], ""),
        (plan("reveals"), [U, A], "evidence: no message"),
        (plan("updates"), [U, ("assistant", True, "x")], "evidence: it is in an assistant message"),
        (plan("small_talk"), [E, A], "evidence: small talk that gives something away"),
        (plan("small_talk"), [U, A], ""),
        (plan("reveals"), [A, E], "roles: "),
        (plan("reveals"), [E], "roles: "),
        (plan("reveals"), [E, U, A, A], "roles: "),
        (plan("reveals"), [E, A, U], "roles: "),
        (plan("reveals", exchanges=3), [E, A, U, A], "exchanges: the user speaks 2 times, at least 3"),
        (plan("forgets", exchanges=2), [E, A], "exchanges: "),
        (plan("forgets", exchanges=2), [U, ("assistant", False, "green tea"), E, A], ""),
        (plan("reveals"), [("user", True, "I like green TEA"), A], "named: "),
        (plan("updates"), [E, ("assistant", False, "green tea then")], "named: "),
        (plan("reveals", "sensitive_info"), [("user", True, "it is green tea"), A], ""),
        (plan("reveals", "sensitive_info"), [E, ("assistant", False, "green tea")], "planted: "),
    ],
)
def test_a_session_that_is_not_what_was_planned_is_rejected(
    planned: SessionPlan, messages: list[tuple[str, bool, str]], problem: str
) -> None:
    found = find_problem(reply(*messages), planned)
    assert problem in found
    assert bool(problem) == bool(found)


def prompts(config: ConversationsConfig, persons: int = 12) -> list[tuple[SessionPlan, Prompt[Any]]]:
    seen: list[Prompt[Any]] = []
    people = [person(number) for number in range(persons)]
    write_sessions(people, config, scripted(lambda prompt: seen.append(prompt) or Refused(prompt.key, "a: b")), 0)
    plans = [plan for someone in people for plan in plan_sessions(someone, config, 0)]
    return list(zip(plans, seen, strict=True))


def test_the_author_is_told_how_this_type_reveals_and_nothing_of_the_others() -> None:
    kinds = set()
    for planned, prompt in prompts(LONG):
        ways = [way for both in told.WAYS.values() for way in both.values() if way in prompt.instructions]
        if planned.event == "forgets":
            assert ways == []
            continue
        who = planned.preference.who if planned.preference else "self"
        assert ways == [told.WAYS[planned.conversation_type][who]]
        sensitive = planned.preference is not None and planned.preference.pref_type == "sensitive_info"
        assert (told.SENSITIVE in prompt.instructions) == sensitive
        assert (told.EVENTS[planned.event] in prompt.instructions) != sensitive
        kinds.add((planned.conversation_type, who))
    assert len(kinds) > len(CONVERSATION_TYPES)


@pytest.mark.parametrize("config", [SHORT, LONG], ids=["short", "long"])
def test_all_that_anybody_is_told_is_in_the_code_version(config: ConversationsConfig) -> None:
    for _, prompt in prompts(config):
        assert all(part in INSTRUCTIONS for part in prompt.instructions.split("\n\n"))
        # Every key that the brief uses is explained, and an option that is off leaves no trace in it.
        for key in ("exchanges", "aspect", "repeat", "length"):
            assert (key in prompt.brief) <= (f"`{key}`" in prompt.instructions)
            assert config is LONG or key not in prompt.brief


def test_a_brief_says_how_often_and_about_which_side() -> None:
    found = 0
    for planned, prompt in prompts(LONG):
        assert prompt.brief["length"] == "long"
        assert prompt.brief.get("exchanges", 1) == (1 if planned.event == "forgets" else planned.exchanges)
        assert prompt.brief.get("aspect", "") == planned.aspect
        assert prompt.brief.get("repeat", 0) == planned.repeat
        found += planned.repeat > 1
        json.dumps(prompt.brief)
    assert found
