"""The simulator as an author of conversations: what a user and an assistant say to each other.

Every function is pure: the same brief and seed give the same text.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from personamem_pipeline.llm.simulator import language as say
from personamem_pipeline.llm.simulator.editions import in_edition, queries
from personamem_pipeline.llm.simulator.world import world

Json = Mapping[str, Any]


def session(brief: Json, rng: random.Random) -> dict[str, Any]:
    """One conversation. `evidence` marks the messages without which the event cannot be known."""
    event = brief["event"]
    if event == "small_talk":
        return {"messages": _exchange(*rng.choice(say.SMALL_TALK), evidence=False)}
    if event == "forgets":
        return {"messages": _forget(brief, rng)}
    if brief["pref_type"] == "sensitive_info":
        plant = say.SENSITIVE_PLANT.format(kind=brief["topic"], value=brief["preference"])
        return {"messages": _exchange(plant, say.SENSITIVE_REPLY, evidence=True)}
    messages = _exchange(_opening(brief, rng), rng.choice(say.REPLIES), evidence=True)
    extra = rng.random()
    if extra < 0.2:
        messages += _exchange(*rng.choice(say.FOLLOW_UPS), evidence=False)
    elif extra < 0.35:
        unrelated = rng.choice([p for p in world().preferences if p.topic != brief["topic"]])
        messages[-1]["content"] += " " + say.CHATTER.format(cue=rng.choice(unrelated.cues))
    return {"messages": messages}


def _opening(brief: Json, rng: random.Random) -> str:
    kind, edition = brief["conversation_type"], brief["edition"]
    preference = world().preference(brief["preference"])
    if brief["event"] == "updates":
        frames, old = say.UPDATES[kind], rng.choice(world().preference(brief["previous"]).cues)
    elif brief["who"] == "others":
        frames, old = (say.OTHERS_REVEAL[kind],), ""
    else:
        frames, old = say.REVEALS[kind], ""
    cues = (preference.unseen,) if brief["wording"] == "unseen" else preference.cues
    frame, cue = rng.choice(in_edition([(frame, cue) for frame in frames for cue in cues], edition))
    return frame.format(cue=cue, old=old, other=rng.choice(say.OTHERS))


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
