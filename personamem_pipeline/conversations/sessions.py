"""Sessions: the texts of the planned conversations.

The endpoint writes each conversation and flags the messages that carry the event. Those become the evidence that
certificates and causal tests rest on, so a session that is not what was planned is rejected with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from personamem_pipeline.conversations.instructions import INSTRUCTIONS, instructions
from personamem_pipeline.conversations.plan import SessionPlan, plan_sessions
from personamem_pipeline.errors import Refused
from personamem_pipeline.llm.client import Endpoint, Prompt
from personamem_pipeline.presets import ConversationsConfig
from personamem_pipeline.records import Message, Persona, Rejection, Session

__all__ = ["INSTRUCTIONS", "SessionReply", "WrittenMessage", "find_problem", "write_sessions"]


class WrittenMessage(BaseModel):
    """One message as the author gives it."""

    role: Literal["user", "assistant"]
    content: str = Field(min_length=1)
    evidence: bool


class SessionReply(BaseModel):
    """What the endpoint answers to the task `session`."""

    messages: list[WrittenMessage] = Field(min_length=1)


def write_sessions(
    personas: Sequence[Persona],
    config: ConversationsConfig,
    endpoint: Endpoint,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Session], list[Rejection]]:
    """Sessions in the order of persons and time, and the planned ones that could not be written, with the reasons."""
    plans = [(persona, plan) for persona in personas for plan in plan_sessions(persona, config, seed)]
    replies = endpoint.map([_prompt(persona, plan, config, seed) for persona, plan in plans], on_progress)
    sessions: list[Session] = []
    rejections: list[Rejection] = []
    for (persona, plan), reply in zip(plans, replies, strict=True):
        if isinstance(reply, Refused):
            rejections.append(_rejection(plan, persona, str(reply.args[-1]), reply.content))
        elif problem := find_problem(reply, plan):
            rejections.append(_rejection(plan, persona, problem, reply.model_dump_json()))
        else:
            sessions.append(_session(persona, plan, reply, endpoint.model))
    return sessions, rejections


def find_problem(reply: SessionReply, plan: SessionPlan) -> str:
    """Why a conversation is not what was planned, as `code: explanation`; empty when it is."""
    turns = [message.role for message in reply.messages]
    if turns != ["user", "assistant"] * (len(turns) // 2):
        return "roles: it is not a conversation in which user and assistant alternate, from the user to the assistant"
    if turns.count("user") < plan.exchanges:
        return f"exchanges: the user speaks {turns.count('user')} times, at least {plan.exchanges} were planned"
    flagged = [message for message in reply.messages if message.evidence]
    if plan.event == "small_talk":
        return "evidence: small talk that gives something away" if flagged else ""
    if not flagged:
        return "evidence: no message carries the event"
    if any(message.role != "user" for message in flagged):
        return "evidence: it is in an assistant message, but only the user's own words count"
    return _stated(reply, flagged, plan)


def _stated(reply: SessionReply, flagged: Sequence[WrittenMessage], plan: SessionPlan) -> str:
    """What must be said literally is, and what must not be said is not."""
    if plan.preference is None or plan.event == "forgets":
        return ""
    text = plan.preference.text.casefold()
    if plan.preference.pref_type == "sensitive_info":
        planted = any(text in message.content.casefold() for message in flagged)
        return "" if planted else "planted: the private value is not in the evidence"
    unsaid = [text] + ([plan.previous.text.casefold()] if plan.previous else [])
    if any(name in message.content.casefold() for message in reply.messages for name in unsaid):
        return "named: the preference, or the one before it, is named, but it must only be inferable"
    return ""


def _prompt(persona: Persona, plan: SessionPlan, config: ConversationsConfig, seed: int) -> Prompt[SessionReply]:
    preference = plan.preference
    brief: dict[str, Any] = {
        "event": plan.event,
        "conversation_type": plan.conversation_type,
        "pref_type": preference.pref_type if preference else "",
        "topic": preference.topic if preference else "",
        "preference": preference.text if preference else "",
        "previous": plan.previous.text if plan.previous else "",
        "who": preference.who if preference else "self",
        "wording": plan.wording,
        "edition": persona.split,
        "user": {"name": persona.name, **persona.profile},
    }
    # Only what the instructions speak of: a brief does not change with an option that it makes no use of.
    if config.length == "long":
        brief["length"] = config.length
    if plan.exchanges > 1 and plan.event != "forgets":
        brief["exchanges"] = plan.exchanges
    if plan.aspect:
        brief |= {"aspect": plan.aspect, "repeat": plan.repeat}
    return Prompt("session", instructions(plan, config.length), brief, SessionReply, plan.session_id, seed)


def _session(persona: Persona, plan: SessionPlan, reply: SessionReply, author: str) -> Session:
    ids = [f"{plan.session_id}.m{index}" for index in range(len(reply.messages))]
    return Session(
        session_id=plan.session_id, person_id=persona.person_id, time=plan.time,
        conversation_type=plan.conversation_type, event=plan.event,
        preference=plan.preference, wording=plan.wording, repeat=plan.repeat,
        messages=tuple(
            Message(turn_id=turn_id, role=message.role, content=message.content)
            for turn_id, message in zip(ids, reply.messages, strict=True)
        ),
        evidence=tuple(turn_id for turn_id, message in zip(ids, reply.messages, strict=True) if message.evidence),
        author=author,
    )  # fmt: skip


def _rejection(plan: SessionPlan, persona: Persona, reason: str, content: str) -> Rejection:
    return Rejection(row_id=plan.session_id, person_id=persona.person_id, reason=reason, content=content)
