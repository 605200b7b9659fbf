"""The simulator's closed world: topics, preferences, and the things that give a preference away.

The words live in the YAML files beside this module; the rules they obey (unique cues, no shared words, two-word
preferences so that no option stands out by length) are held by `tests/llm/test_world.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources

import yaml

OPPOSITE_TAGS = {
    "young": ("older", "retired"),
    "older": ("young", "student"),
    "city": ("countryside", "coast"),
    "countryside": ("city",),
    "coast": ("city",),
    "office": ("manual", "creative"),
    "manual": ("office", "student"),
    "creative": ("office",),
    "student": ("retired", "older"),
    "retired": ("student", "young"),
    "parent": ("single",),
    "single": ("parent",),
}
"""For an anti-stereotypical preference: groups whose stereotypes contradict a person's own group."""

BACKGROUND_TYPES = {"health": "health_and_medical_conditions", "therapy": "therapy_background"}


@dataclass(frozen=True)
class WorldPreference:
    """One preference: its two-word text and five indirect cues, the last of which is kept from all training text."""

    topic: str
    text: str
    typical_of: tuple[str, ...]
    cues: tuple[str, ...]
    unseen: str


@dataclass(frozen=True)
class Topic:
    """One area of life: questions that a preference in it would decide, and answers that fit anybody."""

    name: str
    queries: tuple[str, ...]
    generic: tuple[str, ...]
    preferences: tuple[WorldPreference, ...]


@dataclass(frozen=True)
class World:
    """All topics, with lookups."""

    topics: tuple[Topic, ...]

    @cached_property
    def preferences(self) -> tuple[WorldPreference, ...]:
        return tuple(preference for topic in self.topics for preference in topic.preferences)

    def topic(self, name: str) -> Topic:
        return _by_name()[name]

    def preference(self, text: str) -> WorldPreference:
        return _by_text()[text]

    def cues(self) -> dict[str, WorldPreference]:
        """Every cue phrase, the unseen ones too -> what it gives away."""
        return _by_cue()


@cache
def world() -> World:
    """The world, read once."""
    topics: list[Topic] = []
    for file in sorted(resources.files(__name__).iterdir(), key=lambda path: path.name):
        if not file.name.endswith(".yaml"):
            continue
        for entry in yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            preferences = tuple(
                WorldPreference(
                    entry["name"], item["text"], tuple(item["typical_of"]), tuple(item["cues"]), item["unseen"]
                )
                for item in entry["preferences"]
            )
            topics.append(Topic(entry["name"], tuple(entry["queries"]), tuple(entry["generic"]), preferences))
    return World(tuple(topics))


@cache
def _by_name() -> dict[str, Topic]:
    return {topic.name: topic for topic in world().topics}


@cache
def _by_text() -> dict[str, WorldPreference]:
    return {preference.text: preference for preference in world().preferences}


@cache
def _by_cue() -> dict[str, WorldPreference]:
    return {cue: item for item in world().preferences for cue in (*item.cues, item.unseen)}
