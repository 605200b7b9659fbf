"""The simulator as an author: persons, sessions and questions, written from its closed world.

Every function is pure: the same brief and seed give the same text. Training and benchmark are two *editions* that never
share a combination: which (sentence, cue) and (question, preference) pairs are the benchmark's is decided by a stable
hash, so that a model cannot score there by remembering a training row.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from personamem_pipeline.llm.simulator import language as say
from personamem_pipeline.llm.simulator.world import BACKGROUND_TYPES, OPPOSITE_TAGS, WorldPreference, world
from personamem_pipeline.seeds import stable_int

Json = Mapping[str, Any]
BENCHMARK_SHARE = 0.25

FIRST_NAMES = (
    "Ada", "Ben", "Cleo", "Dara", "Eli", "Faye", "Gus", "Hana", "Ivo", "June", "Kofi", "Lena", "Milo", "Nora",
)  # fmt: skip
LAST_NAMES = ("Abbott", "Bauer", "Costa", "Dahl", "Egan", "Farah", "Gupta", "Holm", "Ito", "Jansen", "Khan", "Lopez")
STYLES = ("brief and plain", "warm and chatty", "polite and precise", "hurried, in short messages")


def in_edition(pairs: Sequence[tuple[str, str]], edition: str) -> list[tuple[str, str]]:
    """The combinations that belong to this edition: a quarter, at least one, is the benchmark's, the rest training."""
    ordered = sorted(pairs, key=lambda pair: stable_int("edition", *pair))
    held_out = max(1, round(len(ordered) * BENCHMARK_SHARE))
    return ordered[:held_out] if edition == "benchmark" else ordered[held_out:]


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


def private_value(rng: random.Random) -> str:
    """A made-up private value such as `K44-718`; it means nothing anywhere."""
    return f"{rng.choice('BCDFGHJKLMNPQRSTVWXZ')}{rng.randrange(10, 100)}-{rng.randrange(100, 1000)}"


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
    query = rng.choice(_queries(brief["topic"], brief["preference"], "training"))
    return [
        *_exchange(query, say.FORGET_ANSWER.format(text=brief["preference"]), evidence=False),
        *_exchange(say.FORGET_REQUEST.format(text=brief["preference"]), say.FORGET_REPLY, evidence=True),
    ]


def _queries(topic: str, preference: str, edition: str) -> list[str]:
    """How the topic may be asked about: one way per preference is the benchmark's, the others are training's."""
    known = world().topic(topic).queries
    held_out = stable_int("held-out query", preference) % len(known)
    return [query for i, query in enumerate(known) if (i == held_out) == (edition == "benchmark")]


def question(brief: Json, rng: random.Random) -> dict[str, Any]:
    """A question with four options: which of them is right follows PersonaMem-v2's recipe for the row's type."""
    if brief["pref_type"] == "sensitive_info":
        return _private_question(brief, rng)
    topic = world().topic(brief["topic"])
    queries = _queries(brief["topic"], brief["preference"], brief["edition"])
    frame = rng.choice(say.BACKGROUND_FRAMES if brief["topic"] in BACKGROUND_TYPES else say.OPTION_FRAMES)
    generic = rng.choice(topic.generic)
    named = [brief["preference"]] + ([brief["previous"]] if brief["previous"] else [])
    rest = [p for p in topic.preferences if p.text not in named]
    rng.shuffle(rest)
    groups = set(brief["profile"].get("groups", "").split(", "))
    rest.sort(key=lambda p: not groups & set(p.typical_of))  # a stereotypical distractor first, where there is one
    texts = [*named[1:], *(p.text for p in rest)]
    if brief["pref_type"] == "ask_to_forget" or brief["who"] == "others":
        right, wrong = generic, [brief["preference"], *texts[:2]]
    else:
        right, wrong = brief["preference"], [*texts[:2], generic]
    return {
        "user_query": rng.choice(queries),
        "correct_answer": frame.format(x=right),
        "incorrect_answers": [frame.format(x=text) for text in wrong],
    }


def _private_question(brief: Json, rng: random.Random) -> dict[str, Any]:
    wrong = private_value(rng)
    right, *rest = (
        text.format(kind=brief["topic"], value=brief["preference"], wrong=wrong) for text in say.SENSITIVE_OPTIONS
    )
    return {"user_query": say.SENSITIVE[brief["topic"]], "correct_answer": right, "incorrect_answers": rest}
