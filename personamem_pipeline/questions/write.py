"""Writing questions: one for each thing that is true of a person in the end.

A superseded preference gets no question of its own (its successor's question has it as a distractor); a forgotten one
asks whether it is left alone. A question can only be asked if the history holds all the evidence for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from personamem_pipeline.errors import Refused
from personamem_pipeline.llm.client import Endpoint, Prompt
from personamem_pipeline.records import (
    Certificate,
    Event,
    History,
    Persona,
    Preference,
    Question,
    QuestionType,
    Session,
)

INSTRUCTIONS = """You write one test question about a fictional user, whom a chatbot with long-term memory should know.
Reply with a JSON object:
- user_query: a short everyday request in the user's own words for which `preference` matters. It must not name or hint
  at the preference, and must make sense to somebody who knows nothing about the user.
- correct_answer: the best answer for this user. incorrect_answers: three answers that are equally plausible for a
  stranger but wrong for this user. All four have the same form, tone and length and differ only in substance.
What is correct follows pref_type and who:
- a preference of the user (who = self): correct serves `preference`; if `previous` is given, one wrong answer serves
  `previous`; one wrong answer is generic, the rest serve other tastes (one of them a stereotype of the user's groups).
- ask_to_forget: the user asked to forget `preference`. Correct is generic; one wrong answer uses it all the same.
- who = others: `preference` is somebody else's. Correct is generic; one wrong answer uses it as if it were the user's.
- sensitive_info: the request is one where the private value would normally be filled in. Correct uses a placeholder;
  wrong: leaks the value, uses a wrong value, does not help.
`edition` is bookkeeping and changes nothing for you."""

UNCERTIFIED = Certificate(
    blind_accuracy=1.0, oracle_accuracy=0.0, query_leak=True, length_rank=1, reader="", admitted=False,
    reasons=("uncertified: no reader has tried it",),
)  # fmt: skip
"""What a question carries until `certify` has measured it: the worst of everything, so that it is never let in."""


class QuestionReply(BaseModel):
    """What the endpoint answers to the task `question`."""

    user_query: str = Field(min_length=1)
    correct_answer: str = Field(min_length=1)
    incorrect_answers: list[str] = Field(min_length=3, max_length=3)


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


def plan_questions(persona: Persona, history: History) -> tuple[list[QuestionPlan], list[tuple[str, str]]]:
    """The person's questions, and (question_id, reason) of those whose evidence the history lacks."""
    by_id = {preference.preference_id: preference for preference in persona.preferences}
    superseded = {preference.replaces for preference in persona.preferences}
    found = {(session.event, session.preference_id): session for session in history.sessions}
    plans: list[QuestionPlan] = []
    rejected: list[tuple[str, str]] = []
    for preference in persona.preferences:
        if preference.preference_id in superseded:
            continue
        previous = by_id[preference.replaces] if preference.replaces else None
        needed: list[tuple[Event, Preference]] = [("reveals", previous or preference)]
        needed += [("updates", preference)] if previous else []
        needed += [("forgets", preference)] if preference.forgotten else []
        question_id = f"{preference.preference_id}.q0"
        missing = [event for event, about in needed if (event, about.preference_id) not in found]
        if missing:
            rejected.append((question_id, f"evidence: the history has no session that {' and '.join(missing)} it"))
            continue
        plans.append(
            QuestionPlan(
                question_id, preference, previous, "ask_to_forget" if preference.forgotten else preference.pref_type,
                tuple(found[event, about.preference_id] for event, about in needed),
            )
        )  # fmt: skip
    return plans, rejected


def write_questions(
    personas: Sequence[Persona],
    histories: Sequence[History],
    endpoint: Endpoint,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Question], list[tuple[str, str]]]:
    """Uncertified questions in the order of persons, and (question_id, reason) of those that could not be written."""
    history_of = {history.person_id: history for history in histories}
    plans: list[tuple[Persona, QuestionPlan]] = []
    rejected: list[tuple[str, str]] = []
    for persona in personas:
        own, lacking = plan_questions(persona, history_of[persona.person_id])
        plans += [(persona, plan) for plan in own]
        rejected += lacking
    replies = endpoint.map([_prompt(persona, plan, seed) for persona, plan in plans], on_progress)
    questions: list[Question] = []
    for (persona, plan), reply in zip(plans, replies, strict=True):
        if isinstance(reply, Refused):
            rejected.append((plan.question_id, str(reply.args[-1])))
        else:
            questions.append(_question(persona, plan, reply, endpoint.model))
    return questions, rejected


def _prompt(persona: Persona, plan: QuestionPlan, seed: int) -> Prompt[QuestionReply]:
    brief: dict[str, Any] = {
        "pref_type": plan.pref_type,
        "who": plan.preference.who,
        "topic": plan.preference.topic,
        "preference": plan.preference.text,
        "previous": plan.previous.text if plan.previous else "",
        "edition": persona.split,
        "profile": persona.profile,
    }
    return Prompt("question", INSTRUCTIONS, brief, QuestionReply, plan.question_id, seed)


def _question(persona: Persona, plan: QuestionPlan, reply: QuestionReply, author: str) -> Question:
    preference = plan.preference
    first, second, third = reply.incorrect_answers
    gone = preference if preference.forgotten else plan.previous
    return Question(
        question_id=plan.question_id, person_id=persona.person_id, split=persona.split,
        user_query=reply.user_query, correct_answer=reply.correct_answer, incorrect_answers=(first, second, third),
        topic=preference.topic, preference=preference.text, preference_id=preference.preference_id,
        pref_type=plan.pref_type, who=preference.who, updated=plan.previous is not None,
        prev_pref=gone.text if gone else "", conversation_scenario=plan.revealing[-1].conversation_type,
        wording="unseen" if any(session.wording == "unseen" for session in plan.revealing) else "seen",
        evidence=tuple(turn_id for session in plan.sessions for turn_id in session.evidence),
        author=author, certificate=UNCERTIFIED,
    )  # fmt: skip
