"""Sessions: the texts of the planned conversations.

The endpoint writes each conversation and flags the messages that carry the event. Those become the evidence that
certificates and causal tests rest on, so a session whose event needs evidence and has none is rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from personamem_pipeline.conversations.plan import SessionPlan, plan_sessions
from personamem_pipeline.errors import Refused
from personamem_pipeline.llm.client import Endpoint, Prompt
from personamem_pipeline.presets import ConversationsConfig
from personamem_pipeline.records import Message, Persona, Session

INSTRUCTIONS = """You write one conversation between a user and an assistant for a test of long-term memory in chatbots.
The brief says who the user is, what kind of conversation it is (`conversation_type`) and what happens in it (`event`):
- reveals: the user asks for something else entirely (to polish a mail, translate a text, give advice, ...); what they
  write happens to carry the preference, through things they own, do or mention. Never name the preference, never ask
  about it, never say "I like". A careful reader must be able to infer it. With who = others the text is somebody else's
  and it must be clear that it belongs to that person, not to the user.
- updates: as reveals, and a careful reader can also see that `previous` is over and `preference` took its place.
- forgets: the user asks something, the assistant's answer openly uses the preference, then the user asks the assistant
  to forget it. Here the preference is named.
- small_talk: an exchange that gives nothing away about the user.
With pref_type = sensitive_info the user states the private value in passing, as part of a request.
With wording = unseen use rarer words than usual. `edition` is bookkeeping and changes nothing for you.
Reply with a JSON object: messages, a list of {role, content, evidence}. It starts with the user. `evidence` is true for
exactly those user messages without which the event cannot be known; all others, and all of small talk, are false."""


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
) -> tuple[list[Session], list[tuple[str, str]]]:
    """Sessions in the order of persons and time, and (session_id, reason) of those that could not be written."""
    plans = [(persona, plan) for persona in personas for plan in plan_sessions(persona, config, seed)]
    replies = endpoint.map([_prompt(persona, plan, seed) for persona, plan in plans], on_progress)
    sessions: list[Session] = []
    rejected: list[tuple[str, str]] = []
    for (persona, plan), reply in zip(plans, replies, strict=True):
        problem = str(reply.args[-1]) if isinstance(reply, Refused) else find_problem(reply, plan)
        if problem:
            rejected.append((plan.session_id, problem))
        elif not isinstance(reply, Refused):
            sessions.append(_session(persona, plan, reply, endpoint.model))
    return sessions, rejected


def find_problem(reply: SessionReply, plan: SessionPlan) -> str:
    """Why a conversation is not what was planned; empty when it is."""
    if reply.messages[0].role != "user" or all(message.role == "user" for message in reply.messages):
        return "it is not a conversation that a user starts and an assistant answers"
    flagged = [message for message in reply.messages if message.evidence]
    if plan.event == "small_talk":
        return "small talk that gives something away" if flagged else ""
    if not flagged:
        return "no evidence: no message carries the event"
    if any(message.role != "user" for message in flagged):
        return "evidence in an assistant message: only the user's own words count"
    return ""


def _prompt(persona: Persona, plan: SessionPlan, seed: int) -> Prompt[SessionReply]:
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
    return Prompt("session", INSTRUCTIONS, brief, SessionReply, plan.session_id, seed)


def _session(persona: Persona, plan: SessionPlan, reply: SessionReply, author: str) -> Session:
    ids = [f"{plan.session_id}.m{index}" for index in range(len(reply.messages))]
    return Session(
        session_id=plan.session_id, person_id=persona.person_id, time=plan.time,
        conversation_type=plan.conversation_type, event=plan.event,
        preference=plan.preference, wording=plan.wording,
        messages=tuple(
            Message(turn_id=turn_id, role=message.role, content=message.content)
            for turn_id, message in zip(ids, reply.messages, strict=True)
        ),
        evidence=tuple(turn_id for turn_id, message in zip(ids, reply.messages, strict=True) if message.evidence),
        author=author,
    )  # fmt: skip
