"""The simulator as an author of persons: profiles and preferences from its closed world.

Every function is pure: the same brief and seed give the same person.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from personamem_pipeline.llm.simulator import language as say
from personamem_pipeline.llm.simulator.editions import private_value
from personamem_pipeline.llm.simulator.world import BACKGROUND_TYPES, OPPOSITE_TAGS, WorldPreference, world

Json = Mapping[str, Any]

FIRST_NAMES = (
    "Ada", "Ben", "Cleo", "Dara", "Eli", "Faye", "Gus", "Hana", "Ivo", "June", "Kofi", "Lena", "Milo", "Nora",
)  # fmt: skip
LAST_NAMES = ("Abbott", "Bauer", "Costa", "Dahl", "Egan", "Farah", "Gupta", "Holm", "Ito", "Jansen", "Khan", "Lopez")
STYLES = ("brief and plain", "warm and chatty", "polite and precise", "hurried, in short messages")


def persona(brief: Json, rng: random.Random) -> dict[str, Any]:
    """A person fitting the seed sentence, with as many preferences of each type as the brief wants."""
    tags = _groups(brief["seed_persona"], rng)
    against = {tag for mine in tags for tag in OPPOSITE_TAGS[mine]} - set(tags)
    taken: set[str] = set()
    preferences = []
    for want in brief["wanted"]:
        if want["pref_type"] == "sensitive_info":
            preferences.append(_private_item(want, taken, rng))
            continue
        fitting = [p for p in world().preferences if p.topic not in taken and _fits(p, want, tags, against)]
        if want["updated"]:  # what replaces it must fit the type too, or the type's label would not hold
            per_topic = Counter(p.topic for p in fitting)
            fitting = [p for p in fitting if per_topic[p.topic] > 1]
        if not fitting:
            raise ValueError(f"the world has no {want['pref_type']} left for somebody who is {', '.join(tags)}")
        choice = rng.choice(fitting)
        taken.add(choice.topic)
        successor = ""
        if want["updated"]:
            successor = rng.choice([p for p in fitting if p.topic == choice.topic and p.text != choice.text]).text
        preferences.append({"topic": choice.topic, "text": choice.text, "changes_to": successor})
    name = f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}"
    profile = {
        "age": "67" if "older" in tags or "retired" in tags else "24" if "young" in tags or "student" in tags else "41",
        "groups": ", ".join(tags),
        "speaking_style": rng.choice(STYLES),
    }
    return {"name": name, "profile": profile, "preferences": preferences}


def _groups(sentence: str, rng: random.Random) -> list[str]:
    """The groups that a seed sentence names; of a sentence that names none, the author makes up two."""
    words = re.findall(r"[a-z]+", sentence.lower())
    named = [tag for tag in OPPOSITE_TAGS if tag in words]
    return named or [rng.choice(("young", "older")), rng.choice(("city", "countryside", "coast"))]


def _fits(candidate: WorldPreference, want: Json, tags: Sequence[str], against: set[str]) -> bool:
    background = BACKGROUND_TYPES.get(candidate.topic)
    if background is not None or want["pref_type"] in BACKGROUND_TYPES.values():
        return bool(background == want["pref_type"])
    if want["who"] == "others":
        return True
    groups = set(candidate.typical_of)
    if want["pref_type"] == "stereotypical_pref":
        return bool(groups & set(tags))
    if want["pref_type"] == "anti_stereotypical_pref":
        return bool(groups & against) and not groups & set(tags)
    return not groups & (set(tags) | against)


def _private_item(want: Json, taken: set[str], rng: random.Random) -> dict[str, Any]:
    kind = rng.choice([kind for kind in say.SENSITIVE if kind not in taken])
    taken.add(kind)
    return {"topic": kind, "text": private_value(rng), "changes_to": ""}
