"""A person as the released raw files hold them: the public profile, the preferences by type, the conversation elements.

In those files the order of keys matters: what stands before `stereotypical_preferences` is the public profile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from personamem_pipeline.questions.released_checks import FORGET
from personamem_pipeline.records import CONVERSATION_TYPES, History, Persona, PreferenceType, Question, Session

LISTS: dict[PreferenceType, str] = {
    "stereotypical_pref": "stereotypical_preferences",
    "anti_stereotypical_pref": "anti_stereotypical_preferences",
    "neutral_preferences": "neutral_preferences",
    "therapy_background": "therapy_background",
    "health_and_medical_conditions": "health_and_medical_conditions",
}
"""Type of a preference -> the key of the list that holds it; private items are a mapping of their own."""


def raw_persona(persona: Persona, history: History, questions: Sequence[Question]) -> dict[str, Any]:
    """The content of `raw_data_*_persona{N}.json`; small talk and padding give nothing away and are no elements."""
    by_id = {preference.preference_id: preference for preference in persona.preferences}
    successors = {preference.preference_id for preference in persona.preferences if preference.replaces}
    raw: dict[str, Any] = {"short_persona": {"persona": persona.seed_persona}, "name": persona.name, **persona.profile}
    for kind, key in LISTS.items():
        raw[key] = [
            preference.text
            for preference in persona.preferences
            if preference.pref_type == kind and preference.preference_id not in successors and preference.who == "self"
        ]
    raw["sensitive_information"] = {p.topic: p.text for p in persona.preferences if p.pref_type == "sensitive_info"}
    raw["preference_updates"] = {
        by_id[preference.replaces].text: preference.text for preference in persona.preferences if preference.replaces
    }
    asked = {question.evidence[-1]: question for question in questions if question.evidence}
    conversations: dict[str, list[dict[str, Any]]] = {name: [] for name in CONVERSATION_TYPES}
    for session in history.sessions:
        if session.preference is not None:
            question = next((asked[turn_id] for turn_id in session.evidence if turn_id in asked), None)
            previous = by_id.get(session.preference.replaces or "")
            element = _element(session, previous.text if previous else "", question)
            conversations[session.conversation_type].append(element)
    raw["conversations"] = {name: elements for name, elements in conversations.items() if elements}
    return {persona.person_id: raw}


def _element(session: Session, previous: str, question: Question | None) -> dict[str, Any]:
    preference = session.preference
    assert preference is not None
    forgets = session.event == "forgets"
    element: dict[str, Any] = {
        "preference": FORGET + preference.text if forgets else preference.text,
        "pref_type": "ask_to_forget" if forgets else preference.pref_type,
        "who": preference.who,
        "conversations": [{"role": message.role, "content": message.content} for message in session.messages],
        "updated": forgets or session.event == "updates",
        "prev_pref": preference.text if forgets else previous,
        "topic_preference": preference.topic,
    }
    if session.conversation_type == "knowledge_query":
        element["idx_repeat"] = session.repeat
    if preference.pref_type == "sensitive_info":
        element["sensitive_info"] = preference.text
    if question is not None:
        element |= {
            "user_query": question.user_query,
            "topic_query": question.topic,
            "correct_answer": question.correct_answer,
            "incorrect_answers": list(question.incorrect_answers),
        }
    return element
