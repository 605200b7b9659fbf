"""The simulator as a reader of one person's preferences: in a closed world it is known what contradicts what."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import combinations
from typing import Any

from personamem_pipeline.llm.simulator.world import world

Json = Mapping[str, Any]


def review(brief: Json, rng: random.Random) -> dict[str, Any]:
    """The same text twice is a duplicate. Two of the person's own in one topic, of which neither replaces the other, are
    a conflict. Texts from outside the world contradict nothing."""
    topics = {preference.text: preference.topic for preference in world().preferences}
    problems = []
    for first, second in combinations(brief["preferences"], 2):
        ids = {"first": first["id"], "second": second["id"]}
        topic = topics.get(first["text"])
        one_topic = topic is not None and topic == topics.get(second["text"])
        replaced = first["id"] == second["replaces"] or second["id"] == first["replaces"]
        if first["text"] == second["text"]:
            problems.append({**ids, "kind": "duplicate", "why": "the same text"})
        elif one_topic and not replaced and first["who"] == second["who"] == "self":
            problems.append({**ids, "kind": "conflict", "why": f"two tastes in {topic}"})
    return {"problems": problems}
