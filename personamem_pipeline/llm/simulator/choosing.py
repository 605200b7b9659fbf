"""Choosing a person's preferences from the closed world: each of the wanted type, each in a topic of its own."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from personamem_pipeline.llm.simulator.groups import opposites
from personamem_pipeline.llm.simulator.world import BACKGROUND_TYPES, WorldPreference, world

Json = Mapping[str, Any]
Chosen = tuple[WorldPreference, str]
"""A preference, and the text that replaces it later ("" when none does)."""


class RunOut(ValueError):
    """The world has no preference left of some type for somebody of these groups."""


def choose_in_order(wanted: Sequence[Json], groups: Sequence[str], rng: random.Random) -> list[Chosen]:
    """One wish after the other from what the ones before have left; `RunOut` when that is nothing."""
    taken: set[str] = set()
    chosen: list[Chosen] = []
    for want in wanted:
        fitting = [option for option in _fitting(want, groups) if option.topic not in taken]
        if not fitting:
            raise RunOut(_problem(want, groups))
        chosen.append(_choose(want, fitting, rng))
        taken.add(chosen[-1][0].topic)
    return chosen


def choose_by_matching(wanted: Sequence[Json], groups: Sequence[str], rng: random.Random) -> list[Chosen]:
    """The same when an earlier wish took what only a later one could not do without: augmenting paths from wishes to
    topics (Kuhn's method), so that it succeeds whenever anything can. `RunOut` when nothing can."""
    options = [_fitting(want, groups) for want in wanted]
    topics = []
    for fitting in options:
        names = sorted({option.topic for option in fitting})
        rng.shuffle(names)
        topics.append(names)
    owner: dict[str, int] = {}

    def place(index: int, tried: set[str]) -> bool:
        for topic in topics[index]:
            if topic not in tried:
                tried.add(topic)
                if topic not in owner or place(owner[topic], tried):
                    owner[topic] = index
                    return True
        return False

    for index, want in enumerate(wanted):
        if not place(index, set()):
            raise RunOut(_problem(want, groups))
    topic_of = {index: topic for topic, index in owner.items()}
    return [
        _choose(want, [option for option in options[index] if option.topic == topic_of[index]], rng)
        for index, want in enumerate(wanted)
    ]


def _fitting(want: Json, groups: Sequence[str]) -> tuple[WorldPreference, ...]:
    """All preferences of the world that would do for a wish, whatever has been taken."""
    return _known_fitting(want["pref_type"], want["who"], want["updated"], tuple(groups))


@lru_cache(maxsize=4096)
def _known_fitting(pref_type: str, who: str, updated: bool, groups: tuple[str, ...]) -> tuple[WorldPreference, ...]:
    against = opposites(groups)
    fitting = tuple(option for option in world().preferences if _fits(option, pref_type, who, set(groups), against))
    if not updated:
        return fitting
    # What replaces it must fit the type too, or the type's label would not hold.
    per_topic = Counter(option.topic for option in fitting)
    return tuple(option for option in fitting if per_topic[option.topic] > 1)


def _fits(option: WorldPreference, pref_type: str, who: str, groups: set[str], against: set[str]) -> bool:
    background = BACKGROUND_TYPES.get(option.topic)
    if background is not None or pref_type in BACKGROUND_TYPES.values():
        return background == pref_type
    if who == "others":
        return True
    typical_of = set(option.typical_of)
    if pref_type == "stereotypical_pref":
        return bool(typical_of & groups)
    if pref_type == "anti_stereotypical_pref":
        return bool(typical_of & against) and not typical_of & groups
    return not typical_of & (groups | against)


def _choose(want: Json, fitting: Sequence[WorldPreference], rng: random.Random) -> Chosen:
    choice = rng.choice(fitting)
    if not want["updated"]:
        return choice, ""
    return choice, rng.choice([o for o in fitting if o.topic == choice.topic and o.text != choice.text]).text


def _problem(want: Json, groups: Sequence[str]) -> str:
    return f"the world has no {want['pref_type']} left for somebody who is {', '.join(groups)}"
