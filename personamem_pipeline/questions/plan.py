"""Planning questions: which are asked of a person, what they rest on, and what is not left to an author's habits.

A superseded preference gets no question of its own (its successor's question has it as a distractor); a forgotten one
asks whether it is left alone. A question can only be asked if the history holds all the evidence for it. The recipe of
the wrong options and the right one's place by length are drawn here, too.
"""

from __future__ import annotations

from dataclasses import dataclass

from personamem_pipeline.errors import UserError
from personamem_pipeline.questions.recipes import Recipe, recipe
from personamem_pipeline.records import Event, History, Persona, Preference, QuestionType, Rejection, Session
from personamem_pipeline.seeds import rng

LENGTHS = ("shortest", "second", "third", "longest")
"""The right option's place among the four by characters."""


@dataclass(frozen=True)
class QuestionPlan:
    """One question before its text exists."""

    question_id: str
    preference: Preference
    previous: Preference | None
    pref_type: QuestionType
    sessions: tuple[Session, ...]
    """The sessions that give it away, in time order; the last one that reveals or updates it sets the scenario."""

    @property
    def revealing(self) -> tuple[Session, ...]:
        return tuple(session for session in self.sessions if session.event in ("reveals", "updates"))

    @property
    def recipe(self) -> Recipe:
        return recipe(self.pref_type, self.preference.who, self.previous is not None)


def plan_questions(persona: Persona, history: History) -> tuple[list[QuestionPlan], list[Rejection]]:
    """The person's questions, and the rejections of those whose evidence the history lacks.

    A knowledge query may have come back several times; all repeats are evidence, but only the first must be there.
    """
    by_id = {preference.preference_id: preference for preference in persona.preferences}
    superseded = {preference.replaces for preference in persona.preferences}
    found: dict[tuple[Event, str | None], list[Session]] = {}
    for session in history.sessions:
        if session.preference is not None and session.preference != by_id.get(session.preference.preference_id):
            raise UserError(
                "the session is about a preference that the person does not have so",
                where=session.session_id,
                expected="a history made from this very person",
                remedy="materialize conversations and histories again from these persons",
            )
        found.setdefault((session.event, session.preference_id), []).append(session)
    plans: list[QuestionPlan] = []
    rejected: list[Rejection] = []
    for preference in persona.preferences:
        if preference.preference_id in superseded:
            continue
        previous = by_id[preference.replaces] if preference.replaces else None
        needed: list[tuple[Event, Preference]] = [("reveals", previous or preference)]
        needed += [("updates", preference)] if previous else []
        needed += [("forgets", preference)] if preference.forgotten else []
        question_id = f"{preference.preference_id}.q0"
        sessions = {event: found.get((event, about.preference_id), []) for event, about in needed}
        missing = [event for event, own in sessions.items() if all(session.repeat for session in own)]
        if missing:
            reason = f"evidence: the history has no session that {' and '.join(missing)} it"
            rejected.append(Rejection(row_id=question_id, person_id=persona.person_id, reason=reason))
            continue
        used = {session.session_id for own in sessions.values() for session in own}
        plans.append(
            QuestionPlan(
                question_id, preference, previous, "ask_to_forget" if preference.forgotten else preference.pref_type,
                tuple(session for session in history.sessions if session.session_id in used),
            )
        )  # fmt: skip
    return plans, rejected


def planned_length(seed: int, question_id: str) -> str:
    """The place by length that the question's right option shall have; over many questions each equally often."""
    return rng(seed, "length rank", question_id).choice(LENGTHS)
