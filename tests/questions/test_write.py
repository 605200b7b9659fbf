"""Which questions are asked, what they rest on, and what their options are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from personamem_pipeline.errors import Refused, UserError
from personamem_pipeline.llm.client import Endpoint, Prompt
from personamem_pipeline.llm.simulator.reader import known_preferences, named_preferences
from personamem_pipeline.llm.simulator.world import world
from personamem_pipeline.questions.plan import LENGTHS, plan_questions, planned_length
from personamem_pipeline.questions.recipes import follows, recipe
from personamem_pipeline.questions.write import UNCERTIFIED, write_questions
from personamem_pipeline.records import History, Persona, Question, Session
from tests.rooms import rooms, simulator


def history_of(person_id: str) -> History:
    return next(history for history in rooms().histories if history.person_id == person_id)


def persona_of(question: Question) -> Persona:
    return next(persona for persona in rooms().personas if persona.person_id == question.person_id)


def test_one_question_for_each_thing_that_is_true_in_the_end() -> None:
    asked = {question.preference_id for question in rooms().questions}
    for persona in rooms().personas:
        superseded = {preference.replaces for preference in persona.preferences}
        assert {p.preference_id for p in persona.preferences} - superseded == {
            preference_id for preference_id in asked if preference_id.startswith(persona.person_id)
        }


def test_the_labels_follow_the_preference() -> None:
    preferences = {p.preference_id: p for persona in rooms().personas for p in persona.preferences}
    seen = set()
    for question in rooms().questions:
        preference = preferences[question.preference_id]
        assert question.question_id == f"{question.preference_id}.q0"
        assert question.pref_type == ("ask_to_forget" if preference.forgotten else preference.pref_type)
        assert question.updated == (preference.replaces is not None)
        if question.updated:
            assert question.prev_pref == preferences[preference.replaces or ""].text
            assert any(question.prev_pref in answer for answer in question.incorrect_answers)
        used = any(preference.text in answer for answer in question.incorrect_answers)
        assert used == (preference.forgotten or preference.who == "others" or question.pref_type == "sensitive_info")
        seen |= {question.pref_type, question.who, question.updated}
    assert {"ask_to_forget", "others", True, "sensitive_info"} <= seen


def test_wrong_options_do_what_their_kinds_say() -> None:
    seen: Counter[str] = Counter()
    for question in rooms().questions:
        groups = set(persona_of(question).profile["groups"].split(", "))
        assert follows(question.incorrect_kinds, recipe(question.pref_type, question.who, question.updated))
        for kind, text in zip(question.incorrect_kinds, question.incorrect_answers, strict=True):
            served = [world().preference(name) for name in named_preferences(text)]
            if kind in ("generic", "wrong", "helpless"):
                assert not served
                assert question.preference not in text
            elif kind in ("forgotten", "others", "leak"):
                assert question.preference in text
            elif kind == "previous":
                assert question.prev_pref in text
            else:
                assert [preference.topic for preference in served] == [question.topic]
                assert served[0].text not in (question.preference, question.prev_pref)
                assert bool(groups & set(served[0].typical_of)) == (kind == "stereotypical")
            seen[kind] += 1
    kinds = {"other", "stereotypical", "generic", "previous", "forgotten", "others", "leak", "wrong", "helpless"}
    assert set(seen) == kinds


def test_every_row_about_a_taste_shows_three_tastes_and_one_plain_answer() -> None:
    for question in rooms().questions:
        if question.pref_type != "sensitive_info":
            assert sum(bool(named_preferences(text)) for text in question.options) == 3


def test_recipes_tell_kinds_apart() -> None:
    assert follows(("generic", "other", "stereotypical"), recipe("neutral_preferences", "self", False))
    assert follows(("other", "generic", "other"), recipe("neutral_preferences", "self", False))
    assert not follows(("other", "other", "other"), recipe("neutral_preferences", "self", False))
    assert not follows(("generic", "generic", "other"), recipe("neutral_preferences", "self", False))
    assert not follows(("other", "stereotypical", "generic"), recipe("neutral_preferences", "self", True))
    assert recipe("ask_to_forget", "self", True) == recipe("ask_to_forget", "self", False)
    assert "forgotten" in recipe("ask_to_forget", "self", False)
    assert "others" in recipe("neutral_preferences", "others", False)


def test_evidence_is_all_that_is_needed_and_nothing_else() -> None:
    turns = {message.turn_id: message for history in rooms().histories for message in history.messages}
    sessions = {turn: s for s in rooms().sessions for turn in s.evidence}
    for question in rooms().questions:
        events = [sessions[turn].event for turn in question.evidence]
        changes = ["updates"] * question.updated + ["forgets"] * (question.pref_type == "ask_to_forget")
        assert events == ["reveals", *changes]
        messages = [{"role": turns[turn].role, "content": turns[turn].content} for turn in question.evidence]
        if question.who == "self" and question.pref_type not in ("ask_to_forget", "sensitive_info"):
            assert known_preferences(messages) == {question.topic: question.preference}
        revealing = [sessions[turn] for turn in question.evidence if sessions[turn].event != "forgets"]
        assert question.wording == ("unseen" if any(s.wording == "unseen" for s in revealing) else "seen")
        assert question.conversation_scenario == revealing[-1].conversation_type


def repeated(session: Session, repeat: int) -> Session:
    ids = {message.turn_id: f"{message.turn_id}.again{repeat}" for message in session.messages}
    return session.model_copy(
        update={
            "session_id": f"{session.session_id}.again{repeat}",
            "repeat": repeat,
            "messages": tuple(m.model_copy(update={"turn_id": ids[m.turn_id]}) for m in session.messages),
            "evidence": tuple(ids[turn] for turn in session.evidence),
        }
    )


def test_a_query_that_comes_back_is_evidence_each_time_and_only_the_first_is_needed() -> None:
    question = next(q for q in rooms().questions if q.updated and q.pref_type != "ask_to_forget")
    persona, history = persona_of(question), history_of(question.person_id)
    own = next(s for s in history.sessions if set(s.evidence) & set(question.evidence) and s.event == "reveals")

    def evidence(change: Callable[[Session], list[Session]]) -> tuple[str, ...]:
        sessions = tuple(new for s in history.sessions for new in (change(s) if s is own else [s]))
        plans, rejected = plan_questions(persona, history.model_copy(update={"sessions": sessions}))
        assert len(plans) + len(rejected) == len([q for q in rooms().questions if q.person_id == persona.person_id])
        found = [plan for plan in plans if plan.question_id == question.question_id]
        return tuple(turn for plan in found for session in plan.sessions for turn in session.evidence)

    first, again, third = own.evidence, repeated(own, 1).evidence, repeated(own, 2).evidence
    rest = question.evidence[len(first) :]
    assert evidence(lambda s: [s]) == first + rest
    assert evidence(lambda s: [s, repeated(s, 1), repeated(s, 2)]) == first + again + third + rest
    assert evidence(lambda s: [s, repeated(s, 2)]) == first + third + rest, "a repeat that is missing is not missed"
    assert evidence(lambda s: [repeated(s, 1), repeated(s, 2)]) == (), "the first must be there"


def test_a_question_whose_evidence_is_gone_is_not_asked() -> None:
    persona = next(p for p in rooms().personas if any(q.forgotten for q in p.preferences))
    history = history_of(persona.person_id)
    forgotten = next(q for q in persona.preferences if q.forgotten)
    before, _ = plan_questions(persona, history)
    cut = history.model_copy(update={"sessions": tuple(s for s in history.sessions if s.event != "forgets")})
    after, rejected = plan_questions(persona, cut)
    lost = f"{forgotten.preference_id}.q0"
    assert {plan.question_id for plan in before} - {plan.question_id for plan in after} == {lost}
    assert [(item.row_id, item.person_id, item.reason) for item in rejected] == [
        (lost, persona.person_id, "evidence: the history has no session that forgets it")
    ]


def test_rows_in_are_rows_out_and_rejections() -> None:
    class Unwilling(Endpoint):
        """Refuses one request in three, and writes another one by the wrong recipe."""

        def map(self, prompts: Sequence[Prompt[Any]], on_progress: Any = None) -> list[Any]:
            replies: list[Any] = super().map(prompts, on_progress)
            for index, prompt in enumerate(prompts):
                if index % 3 == 0:
                    replies[index] = Refused(prompt.key, "declined: no", "I would rather not")
                elif index % 3 == 1:
                    replies[index] = replies[index].model_copy(update={"incorrect_kinds": ["generic"] * 3})
            return replies

    endpoint = simulator()
    questions, rejected = write_questions(
        rooms().personas, rooms().histories, Unwilling(endpoint.base_url, endpoint.model, endpoint.api_key), 0
    )
    ids = [row.question_id for row in questions] + [item.row_id for item in rejected]
    assert sorted(ids) == sorted(question.question_id for question in rooms().questions)
    codes = Counter(item.reason.partition(":")[0] for item in rejected)
    assert set(codes) == {"declined", "recipe"}
    assert all(item.content and item.row_id.startswith(item.person_id) for item in rejected)
    assert not any(question.certificate.admitted for question in questions)


def test_a_person_without_a_history_is_an_error_that_names_them() -> None:
    persona = rooms().personas[0]
    with pytest.raises(UserError, match=persona.person_id):
        write_questions([persona], [], simulator(), 0)


def test_the_place_by_length_is_planned_evenly_and_told_to_the_author() -> None:
    counts = Counter(planned_length(0, f"t{index}.p0.q0") for index in range(2000))
    assert set(counts) == set(LENGTHS)
    assert all(abs(count - 500) < 80 for count in counts.values()), counts
    seen: list[Prompt[Any]] = []

    class Listening(Endpoint):
        def map(self, prompts: Sequence[Prompt[Any]], on_progress: Any = None) -> list[Any]:
            seen.extend(prompts)
            return [Refused(prompt.key, "declined: no") for prompt in prompts]

    write_questions(rooms().personas[:1], rooms().histories[:1], Listening(None, "simulator/1", None), 7)
    assert seen
    assert all(prompt.brief["right_length"] == planned_length(7, prompt.key) for prompt in seen)


def test_what_nobody_measured_is_not_admitted() -> None:
    assert not UNCERTIFIED.admitted
    assert UNCERTIFIED.reasons
