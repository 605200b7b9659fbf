"""What an author of conversations is told: how each type of conversation reveals a preference without saying it.

The ways are PersonaMem-v2's, in our words. A request carries the common part and only what its own session needs; the
whole is one text, `INSTRUCTIONS`, whose digest is part of the stage's code version.
"""

from __future__ import annotations

from typing import Literal

from personamem_pipeline.conversations.plan import SessionPlan
from personamem_pipeline.records import ConversationType, Event, Who

COMMON = """You write one conversation between a user and an assistant for a test of long-term memory in chatbots.
The brief says who the user is, what kind of conversation it is (`conversation_type`) and what happens in it (`event`).
The user writes in the speaking style of `user`; nothing else of the profile needs to show.
Reply with a JSON object: messages, a list of {role, content, evidence}. User and assistant alternate; the user begins,
the assistant ends. `evidence` is true for exactly those user messages without which the event cannot be known; all
others, and all of small talk, are false. With wording = unseen use rarer words than usual. `edition` is bookkeeping and
changes nothing for you."""

EVENTS: dict[Event, str] = {
    "reveals": """The conversation reveals `preference`: the user asks for something else entirely, and what they write
happens to carry it, through things they own, do, avoid or mention. It takes a step of reasoning to see it, yet a careful
reader can be sure of it. Never name the preference, never ask about it, never write "I like" or the like; the assistant
does not name it either and does not comment on it.""",
    "updates": """The person has changed: `previous` is over and `preference` took its place. As in any conversation here
neither is named, the user asks for something else entirely. But the user's own words must entail the change: from them
alone a careful reader can conclude that what stood for `previous` is gone for good (given away, sold, stopped, no longer
bearable) and that something that stands for `preference` is there instead. A mere mention of the new one, or a question
about it, is not enough: it could be meant for somebody else or be an addition.""",
    "forgets": """Two exchanges. First the user asks an everyday question and the assistant's answer openly uses
`preference`. Then the user asks the assistant to forget it, and the assistant promises that without naming it again. Only
here the preference is named. The request to forget is the evidence.""",
    "small_talk": """The user asks for something of the same kind as in other conversations of this type, but nothing in
it says anything about their tastes, habits, health, past or private data. Prefer matters that everybody has to deal
with.""",
}

SENSITIVE = """`preference` is a private value and `topic` says what it is. The user states the value literally, once, in
passing, because the text they are working on needs it or they have just pasted it in. They do not call it private and ask
nothing about it; the assistant does not repeat it."""

WAYS: dict[ConversationType, dict[Who, str]] = {
    "personal_email": {
        "self": "The user pastes the draft of a private mail and asks to improve its language. The draft is about"
        " something else; one detail of it carries the preference. The request does not point at the detail.",
        "others": "The user pastes a private mail that they received and asks what it means or how to take it. The detail"
        " is in the sender's words, so it belongs to the sender.",
    },
    "professional_email": {
        "self": "The user pastes the draft of a mail about work and asks to improve its language. A remark at the edge"
        " of it (a reason for a delay, a thing that has to be picked up) carries the preference.",
        "others": "The user pastes a mail from work that they received and asks to explain it. The detail is in the"
        " sender's words.",
    },
    "creative_writing": {
        "self": "The user shows a piece of their own (a poem, a diary page, a scene from their life) and asks to make it"
        " read better. The piece draws on the user's own life, and one image in it carries the preference.",
        "others": "The piece is about somebody whom the user knows and names; the image belongs to that person.",
    },
    "professional_writing": {
        "self": "The user shows something for work or study (a biography, a report, a cover letter, a talk) and asks to"
        " edit it. An example or aside in it carries the preference.",
        "others": "The text was written by somebody else, whom the user names and for whom they ask; the aside is that"
        " person's.",
    },
    "chat_message": {
        "self": "The user shows a short message that they are about to send and asks whether it sounds right. What it"
        " takes for granted carries the preference.",
        "others": "The user shows a message that they received and asks what the sender means.",
    },
    "social_media_post": {
        "self": "The user shows a post of theirs and asks to make it livelier or clearer. What can be seen around its"
        " actual subject carries the preference.",
        "others": "The user shows somebody else's post and asks how it comes across.",
    },
    "translation": {
        "self": "The user wants their own text in another language, for a host, an office, relatives. Something they"
        " write of themselves in it carries the preference.",
        "others": "The user wants to understand what somebody else wrote; the text speaks of that person.",
    },
    "trouble_consult": {
        "self": "The user asks for advice on a worry from some other area of life. The preference slips in on the side:"
        " it is neither the worry nor its cause, and the advice does not depend on it.",
        "others": "The worry is about somebody near the user, and the detail belongs to that person.",
    },
    "knowledge_query": {
        "self": "The user asks a short factual question, so specific that only somebody who lives with the thing would"
        " ask it. No reason is given and no liking is mentioned. One question alone is the whole first message.",
        "others": "The user passes on a question that somebody else asked them, and says whose it is.",
    },
}

LENGTHS: dict[Literal["short", "long"], str] = {
    "short": "A message is a line or two.",
    "long": """`length` is long: pasted texts are whole drafts and answers are worked out, about 100 to 250 words each. What
carries the event is one detail among many; everything else in the texts must say nothing about the user's tastes.""",
}

EXCHANGES = """`exchanges` is the number of user messages, each followed by an answer: the later ones go on with the task
(another wording, a detail, a question about the answer) and give nothing further away."""

ASPECT = """The user asks about the same interest several times over the months. `aspect` is the side of the matter that this
question is about, `repeat` says how often they have asked before; do not refer to the earlier times."""


def instructions(plan: SessionPlan, length: Literal["short", "long"]) -> str:
    """The common part and what this session needs."""
    parts = [COMMON, EVENTS[plan.event]]
    if plan.event != "forgets":
        parts.append(WAYS[plan.conversation_type][plan.preference.who if plan.preference else "self"])
    if plan.preference and plan.preference.pref_type == "sensitive_info":
        parts[1] = SENSITIVE
    parts.append(LENGTHS[length])
    parts += [EXCHANGES] if plan.exchanges > 1 and plan.event != "forgets" else []
    parts += [ASPECT] if plan.aspect else []
    return "\n\n".join(parts)


INSTRUCTIONS = "\n\n".join(
    [
        COMMON,
        *EVENTS.values(),
        SENSITIVE,
        *(f"{kind}, {who}: {way}" for kind, ways in WAYS.items() for who, way in ways.items()),
        *LENGTHS.values(),
        EXCHANGES,
        ASPECT,
    ]
)
"""Everything that any author may be told."""
