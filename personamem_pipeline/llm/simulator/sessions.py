"""The simulator as an author of conversations: what a user and an assistant say to each other.

Every function is pure: the same brief and seed give the same text. Short conversations are a line or two a message;
with `length: long` the same lines stand inside whole drafts (`drafts.py`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from personamem_pipeline.llm.simulator import drafts
from personamem_pipeline.llm.simulator import language as say
from personamem_pipeline.llm.simulator.editions import in_edition, queries
from personamem_pipeline.llm.simulator.filler import NEUTRAL_THINGS
from personamem_pipeline.llm.simulator.world import world

Json = Mapping[str, Any]

ASKED_AGAIN: dict[str, tuple[str, ...]] = {
    "cleaning": ("How do I clean my {cue}?", "Which cloth is safe for my {cue}?"),
    "storing": ("What is the right way to store my {cue}?", "Can my {cue} stay in a cold cellar over winter?"),
    "lifetime": (
        "How long does a good {cue} last before I need a new one?",
        "How can I tell that my {cue} is worn out?",
    ),
    "repair": ("Where do people repair my kind of {cue}?", "Is it worth the effort to repair my {cue} myself?"),
    "buying": (
        "What should I check before I buy a second one like my {cue}?",
        "How much does a good {cue} cost these days?",
    ),
    "mistakes": ("Which mistakes do people make with my kind of {cue}?", "What ruins a good {cue} most often?"),
}
"""Knowledge queries that come back, by the side of the matter that they ask about."""

PLANTS = {
    "professional_writing": say.SENSITIVE_PLANT,
    "personal_email": "Please finish this mail to the landlady for me, my {kind} is {value}.",
    "professional_email": "Make this mail to the front desk formal, my {kind} is {value}.",
    "chat_message": "Make this message to the clerk shorter, my {kind} is {value}.",
    "translation": "Please put this form into German, my {kind} is {value}.",
    "trouble_consult": "The clerk sent my papers back again, although my {kind} is {value}. What should I do?",
}
"""How a private value slips into a conversation of each type that may carry one."""


def session(brief: Json, rng: random.Random) -> dict[str, Any]:
    """One conversation. `evidence` marks the messages without which the event cannot be known."""
    return {"messages": _long(brief, rng) if brief.get("length") == "long" else _short(brief, rng)}


def _short(brief: Json, rng: random.Random) -> list[dict[str, Any]]:
    event = brief["event"]
    if event == "forgets":
        return _forget(brief, rng)
    if event == "small_talk":
        messages = _exchange(*rng.choice(say.SMALL_TALK), evidence=False)
    elif brief["pref_type"] == "sensitive_info":
        messages = _exchange(_plant(brief), say.SENSITIVE_REPLY, evidence=True)
    else:
        messages = _exchange(_opening(brief, rng), rng.choice(say.REPLIES), evidence=True)
        extra = rng.random()
        if extra < 0.2 and "exchanges" not in brief:
            messages += _exchange(*rng.choice(say.FOLLOW_UPS), evidence=False)
        elif 0.2 <= extra < 0.35:
            messages[-1]["content"] += " " + _chatter(brief, rng)
    for more in rng.sample(say.FOLLOW_UPS, brief.get("exchanges", 1) - 1):
        messages += _exchange(*more, evidence=False)
    return messages


def _long(brief: Json, rng: random.Random) -> list[dict[str, Any]]:
    event, kind, edition = brief["event"], brief["conversation_type"], brief["edition"]
    if event == "forgets":
        messages = _forget(brief, rng)
        query, answer, request, promise = messages
        query["content"] = drafts.user_turn(query["content"], "knowledge_query", edition, rng)
        answer["content"] = drafts.assistant_turn(answer["content"], "knowledge_query", "self", edition, rng)
        request["content"] = drafts.forget_request(request["content"], edition, rng)
        promise["content"] = drafts.forget_reply(promise["content"], edition, rng)
        return messages
    said = rng.choice(say.REPLIES)
    if event == "small_talk":
        core = _combine(say.REVEALS[kind], NEUTRAL_THINGS, edition, rng)
    elif brief["pref_type"] == "sensitive_info":
        core, said = _plant(brief), say.SENSITIVE_REPLY
    else:
        core = _opening(brief, rng)
        if rng.random() < 0.15:
            said += " " + _chatter(brief, rng)
    messages = _exchange(
        drafts.user_turn(core, kind, edition, rng),
        drafts.assistant_turn(said, kind, brief["who"], edition, rng),
        evidence=event != "small_talk",
    )
    for _ in range(brief.get("exchanges", 1) - 1):
        messages += _exchange(*drafts.follow_up(edition, rng), evidence=False)
    return messages


def _opening(brief: Json, rng: random.Random) -> str:
    kind, edition = brief["conversation_type"], brief["edition"]
    preference = world().preference(brief["preference"])
    old = ""
    if brief["event"] == "updates":
        frames, old = say.UPDATES[kind], rng.choice(world().preference(brief["previous"]).cues)
    elif brief["who"] == "others":
        frames = (say.OTHERS_REVEAL[kind],)
    else:
        frames = ASKED_AGAIN[brief["aspect"]] if "aspect" in brief else say.REVEALS[kind]
    cues = (preference.unseen,) if brief["wording"] == "unseen" else preference.cues
    return _combine(frames, cues, edition, rng, old)


def _combine(frames: tuple[str, ...], cues: tuple[str, ...], edition: str, rng: random.Random, old: str = "") -> str:
    frame, cue = rng.choice(_pairs(frames, cues, edition))
    return frame.format(cue=cue, old=old, other=rng.choice(say.OTHERS))


@cache
def _pairs(frames: tuple[str, ...], cues: tuple[str, ...], edition: str) -> Sequence[tuple[str, str]]:
    return in_edition([(frame, cue) for frame in frames for cue in cues], edition)


def _plant(brief: Json) -> str:
    return PLANTS[brief["conversation_type"]].format(kind=brief["topic"], value=brief["preference"])


def _chatter(brief: Json, rng: random.Random) -> str:
    unrelated = rng.choice([p for p in world().preferences if p.topic != brief["topic"]])
    return say.CHATTER.format(cue=rng.choice(unrelated.cues))


def _exchange(user: str, assistant: str, *, evidence: bool) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": user, "evidence": evidence},
        {"role": "assistant", "content": assistant, "evidence": False},
    ]


def _forget(brief: Json, rng: random.Random) -> list[dict[str, Any]]:
    # Never the query that is held out for this preference: a benchmark question is not to be met in any chat.
    query = rng.choice(queries(brief["topic"], brief["preference"], "training"))
    return [
        *_exchange(query, say.FORGET_ANSWER.format(text=brief["preference"]), evidence=False),
        *_exchange(say.FORGET_REQUEST.format(text=brief["preference"]), say.FORGET_REPLY, evidence=True),
    ]
