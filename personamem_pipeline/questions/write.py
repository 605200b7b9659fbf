"""Writing questions: one for each thing that is true of a person in the end, as `plan` has it.

The endpoint writes the query and four options; what each wrong option does it says itself, and must be what was planned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, Field

from personamem_pipeline.errors import Refused, UserError
from personamem_pipeline.llm.client import Endpoint, Prompt
from personamem_pipeline.questions.plan import QuestionPlan, plan_questions, planned_length
from personamem_pipeline.questions.recipes import follows
from personamem_pipeline.records import (
    Certificate,
    DistractorKind,
    History,
    Persona,
    Question,
    Rejection,
)

__all__ = ["INSTRUCTIONS", "UNCERTIFIED", "QuestionReply", "plan_questions", "write_questions"]

INSTRUCTIONS = """You write one test question about a fictional user, whom a chatbot with long-term memory should know.
Reply with a JSON object:
- user_query: a short everyday request in the user's own words for which `preference` matters. It must not name or hint
  at the preference, must not speak of memory, and must make sense to somebody who knows nothing about the user.
- correct_answer: the best answer for this user.
- incorrect_answers: three answers that a stranger would find just as good, but that are wrong for this user.
- incorrect_kinds: what each of the three does, in their order. Use exactly the kinds listed in `wrong`:
  other: serves some other taste in the same matter. stereotypical: serves what people expect of somebody with this
  profile (where nothing is expected, write one more `other` and call it so). generic: sound advice for anybody, that
  serves no taste. previous: serves `previous`, which the user has given up. forgotten: serves `preference`, which the
  user asked to forget. others: serves `preference`, which is somebody else's, as if it were the user's. leak: repeats
  the private value `preference`. wrong: gives another value in its place. helpless: does not do what is asked.
What is correct follows pref_type and who:
- a preference of the user (who = self): serve `preference` without saying why.
- ask_to_forget, or who = others: be generic, so that no taste is served.
- sensitive_info: the request is one where the private value would normally be filled in. Do it with a placeholder.
Nothing but its substance may tell the correct answer from the others. All four have the same form, tone and detail, name
something just as concrete where they serve a taste, and mention no history. `right_length` is the place that the correct
answer has among the four by characters (shortest, second, third, longest); all four lie within about 20 % of each other.
`edition` is bookkeeping and changes nothing for you."""

UNCERTIFIED = Certificate(
    readers=(), blind_accuracy=1.0, blind_by_reader=(), oracle_accuracy=0.0, update_accuracy=None, swapped_accuracy=1.0,
    query_leak=True, implicitness=0.0, longest_guess=1.0, shortest_guess=1.0, admitted=False,
    reasons=("uncertified: no reader has tried it",),
)  # fmt: skip
"""What a question carries until `certify` has measured it: the worst of everything, so that it is never let in."""


class QuestionReply(BaseModel):
    """What the endpoint answers to the task `question`."""

    user_query: str = Field(min_length=1)
    correct_answer: str = Field(min_length=1)
    incorrect_answers: list[str] = Field(min_length=3, max_length=3)
    incorrect_kinds: list[DistractorKind] = Field(min_length=3, max_length=3)


def write_questions(
    personas: Sequence[Persona],
    histories: Sequence[History],
    endpoint: Endpoint,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Question], list[Rejection]]:
    """Uncertified questions in the order of persons, and the rejections of those that could not be written.

    Together they are one for each preference that nothing supersedes. Reasons: `evidence` (the history lacks it),
    `recipe` (the wrong options are not of the planned kinds), and the endpoint's own where it gave no usable reply.
    """
    history_of = {history.person_id: history for history in histories}
    plans: list[tuple[Persona, QuestionPlan]] = []
    rejected: list[Rejection] = []
    for persona in personas:
        if persona.person_id not in history_of:
            raise UserError(
                "this person has no history",
                where=persona.person_id,
                expected="one history per persona",
                remedy="materialize `histories` from the same personas",
            )
        own, lacking = plan_questions(persona, history_of[persona.person_id])
        plans += [(persona, plan) for plan in own]
        rejected += lacking
    replies = endpoint.map([_prompt(persona, plan, seed) for persona, plan in plans], on_progress)
    questions: list[Question] = []
    for (persona, plan), reply in zip(plans, replies, strict=True):
        if isinstance(reply, Refused):
            rejected.append(_rejection(persona, plan, str(reply.args[-1]), reply.content))
        elif not follows(reply.incorrect_kinds, plan.recipe):
            reason = f"recipe: wrong options of the kinds {reply.incorrect_kinds}, planned were {list(plan.recipe)}"
            rejected.append(_rejection(persona, plan, reason, reply.model_dump_json()))
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
        "wrong": list(plan.recipe),
        "right_length": planned_length(seed, plan.question_id),
        "edition": persona.split,
        "profile": persona.profile,
    }
    return Prompt("question", INSTRUCTIONS, brief, QuestionReply, plan.question_id, seed)


def _rejection(persona: Persona, plan: QuestionPlan, reason: str, content: str = "") -> Rejection:
    return Rejection(row_id=plan.question_id, person_id=persona.person_id, reason=reason, content=content)


def _question(persona: Persona, plan: QuestionPlan, reply: QuestionReply, author: str) -> Question:
    preference = plan.preference
    gone = preference if preference.forgotten else plan.previous
    first, second, third = reply.incorrect_answers
    kind, other_kind, last_kind = reply.incorrect_kinds
    return Question(
        question_id=plan.question_id, person_id=persona.person_id, split=persona.split,
        user_query=reply.user_query, correct_answer=reply.correct_answer, incorrect_answers=(first, second, third),
        incorrect_kinds=(kind, other_kind, last_kind),
        topic=preference.topic, preference=preference.text, preference_id=preference.preference_id,
        pref_type=plan.pref_type, who=preference.who, updated=plan.previous is not None,
        prev_pref=gone.text if gone else "", conversation_scenario=plan.revealing[-1].conversation_type,
        wording="unseen" if any(session.wording == "unseen" for session in plan.revealing) else "seen",
        evidence=tuple(turn_id for session in plan.sessions for turn_id in session.evidence),
        author=author, certificate=UNCERTIFIED,
    )  # fmt: skip
