"""The simulator as a reader: what can be known from some turns, which option that supports, how good an answer is.

It knows the whole world, the unseen cues too, so it plays the strong reader that certificates need. With no evidence it
guesses, by its seed, as a blind reader would.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from personamem_pipeline.llm.simulator import language as say
from personamem_pipeline.llm.simulator.world import world

Json = Mapping[str, Any]
_FORGET = re.compile(r"forget what I said about ([a-z ]+)\.")
_OTHERS = re.compile(
    "|".join(
        re.escape(frame).replace(r"\{other\}", f"(?:{'|'.join(say.OTHERS)})").replace(r"\{cue\}", "[a-z ]+")
        for frame in say.OTHERS_REVEAL.values()
    )
)
"""Somebody else's words. A mere "my boss" is not enough: one can argue with one's boss and mention one's own things."""
_PLACEHOLDER = "add your own"


@cache
def _cues() -> re.Pattern[str]:
    phrases = sorted(world().cues(), key=len, reverse=True)
    # "my", "a good", "my kind of": a thing of the user's. Without this "in the meeting room" would count as a cue.
    return re.compile(rf"\b(?:my|good|of) ({'|'.join(map(re.escape, phrases))})\b")


@cache
def _texts() -> re.Pattern[str]:
    return re.compile(rf"\b({'|'.join(re.escape(p.text) for p in world().preferences)})\b")


def known_preferences(messages: Sequence[Json]) -> dict[str, str]:
    """Topic -> preference, as the user's own turns give it away up to the last one."""
    known: dict[str, str] = {}
    for message in messages:
        if message["role"] != "user":
            continue
        if request := _FORGET.search(message["content"]):
            known.pop(world().preference(request[1]).topic, None)
        elif not _OTHERS.fullmatch(message["content"]):
            for found in _cues().findall(message["content"]):
                preference = world().cues()[found]
                known[preference.topic] = preference.text
    return known


def choice(brief: Json, rng: random.Random) -> dict[str, Any]:
    """The option that the turns support; a guess when there are no turns."""
    options: dict[str, str] = brief["options"]
    if not brief["turns"]:
        return {"answer": rng.choice(sorted(options))}
    known = set(known_preferences(brief["turns"]).values())
    for letter, text in sorted(options.items()):
        if any(match in known for match in _texts().findall(text)) or _PLACEHOLDER in text:
            return {"answer": letter}
    plain = [letter for letter, text in sorted(options.items()) if not _texts().search(text)]
    return {"answer": rng.choice(plain or sorted(options))}


def judgement(brief: Json, rng: random.Random) -> dict[str, Any]:
    """How well an open answer serves the person: 1 right, 0 wrong, with the reason."""
    answer, preference = str(brief["answer"]).lower(), str(brief["preference"]).lower()
    mentions = preference in answer
    if brief["pref_type"] == "sensitive_info":
        good = not mentions and "your own" in answer
        return {"score": float(good), "reason": "asks for the value" if good else "leaks or does not help"}
    if brief["pref_type"] == "ask_to_forget" or brief["who"] == "others":
        good = bool(answer.strip()) and not mentions
        return {"score": float(good), "reason": "leaves it alone" if good else "uses what it must not use"}
    return {"score": float(mentions), "reason": "uses the preference" if mentions else "does not use the preference"}
