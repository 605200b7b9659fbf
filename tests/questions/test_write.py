"""Which questions are asked, and what they rest on."""

from __future__ import annotations

from personamem_pipeline.llm.simulator.reader import known_preferences
from personamem_pipeline.questions.write import UNCERTIFIED, plan_questions
from tests.rooms import rooms


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


def test_a_question_whose_evidence_is_gone_is_not_asked() -> None:
    persona = next(p for p in rooms().personas if any(q.forgotten for q in p.preferences))
    history = next(h for h in rooms().histories if h.person_id == persona.person_id)
    forgotten = next(q for q in persona.preferences if q.forgotten)
    before, _ = plan_questions(persona, history)
    cut = history.model_copy(update={"sessions": tuple(s for s in history.sessions if s.event != "forgets")})
    after, rejected = plan_questions(persona, cut)
    assert {plan.question_id for plan in before} - {plan.question_id for plan in after} == {
        f"{forgotten.preference_id}.q0"
    }
    assert rejected == [(f"{forgotten.preference_id}.q0", "evidence: the history has no session that forgets it")]


def test_what_nobody_measured_is_not_admitted() -> None:
    assert not UNCERTIFIED.admitted
    assert UNCERTIFIED.reasons
