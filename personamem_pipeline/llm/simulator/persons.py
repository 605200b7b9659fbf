"""The simulator as an author of persons: profiles and preferences from its closed world.

Every function is pure: the same brief and seed give the same person.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from personamem_pipeline.llm.simulator import language as say
from personamem_pipeline.llm.simulator.choosing import Chosen, RunOut, choose_by_matching, choose_in_order
from personamem_pipeline.llm.simulator.editions import private_value
from personamem_pipeline.llm.simulator.groups import Groups, groups_of
from personamem_pipeline.llm.simulator.profiles import profile_of

Json = Mapping[str, Any]

FIRST_NAMES = (
    "Ada", "Ben", "Cleo", "Dara", "Eli", "Faye", "Gus", "Hana", "Ivo", "June", "Kofi", "Lena", "Milo", "Nora",
)  # fmt: skip
LAST_NAMES = ("Abbott", "Bauer", "Costa", "Dahl", "Egan", "Farah", "Gupta", "Holm", "Ito", "Jansen", "Khan", "Lopez")


def persona(brief: Json, rng: random.Random) -> dict[str, Any]:
    """A person fitting the seed sentence, with as many preferences of each type as the brief wants.

    `brief["attributes"]` are hints for what the sentence leaves open. Raises ValueError when the world runs out.
    """
    sentence, hints = str(brief["seed_persona"]), brief.get("attributes", {})
    groups = groups_of(sentence, hints, rng)
    tastes = [want for want in brief["wanted"] if want["pref_type"] != "sensitive_info"]
    chosen, groups = _choose(tastes, groups, rng)
    kinds = iter(_private_kinds(len(brief["wanted"]) - len(tastes), rng))
    items = iter(chosen)
    preferences = []
    for want in brief["wanted"]:
        if want["pref_type"] == "sensitive_info":
            preferences.append({"topic": next(kinds), "text": private_value(rng), "changes_to": ""})
        else:
            choice, successor = next(items)
            preferences.append({"topic": choice.topic, "text": choice.text, "changes_to": successor})
    name = f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}"
    return {"name": name, "profile": profile_of(sentence, hints, groups, rng), "preferences": preferences}


def _choose(wanted: Sequence[Json], groups: Groups, rng: random.Random) -> tuple[list[Chosen], Groups]:
    """Preferences, and the groups of the person who holds them.

    Where the person's groups have not enough tastes, the author makes up more of the person, as far as that is open.
    """
    try:
        return choose_in_order(wanted, groups.known, rng), groups
    except RunOut as run_out:  # an earlier wish may have taken the topic that a later one needs
        problem = run_out
    waiting = deque([groups])
    while waiting:
        groups = waiting.popleft()
        try:
            return choose_by_matching(wanted, groups.known, rng), groups
        except RunOut:
            waiting += [groups.joined_by(group) for group in rng.sample(groups.open, len(groups.open))]
    raise problem


def _private_kinds(count: int, rng: random.Random) -> list[str]:
    if count > len(say.SENSITIVE):
        raise RunOut(f"the world has {len(say.SENSITIVE)} kinds of private values, not {count}")
    left = list(say.SENSITIVE)
    return [left.pop(left.index(rng.choice(left))) for _ in range(count)]
