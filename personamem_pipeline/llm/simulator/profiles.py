"""The public profile of the simulator's persons: what sentence and hints say, and for the rest words of no consequence.

None of these words is a preference of the world or gives one away (`tests/llm/test_simulator_persons.py` holds that), so
a profile in a chat helps nobody to answer.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from personamem_pipeline.llm.simulator.groups import Groups

STYLES = {
    "brief and plain": ("dry", "informal", "quick", "everyday words", "asks once and leaves"),
    "warm and chatty": ("warm", "informal", "unhurried", "everyday words", "comes back with thanks and a story"),
    "polite and precise": ("courteous", "formal", "steady", "exact terms", "asks again until it is settled"),
    "hurried, in short messages": ("impatient", "informal", "fast", "clipped sentences", "sends several in a row"),
}
"""Speaking style -> tone, formality, pacing, vocabulary, interaction pattern."""
FACETS = ("tone", "formality", "pacing", "vocabulary", "interaction_pattern")

SAID = {
    "gender": (
        "trans woman", "trans man", "nonbinary person", "genderqueer person", "agender person", "genderfluid person",
        "woman", "man",
    ),
    "sexual_orientation": ("gay", "lesbian", "bisexual", "pansexual", "asexual", "straight"),
    "race_ethnicity": (
        "South Asian", "Southeast Asian", "East Asian", "Central Asian", "Middle Eastern", "African", "Latino",
        "Indigenous American", "Pacific Islander", "White",
    ),
}  # fmt: skip
"""What a sentence may say of fields that the simulator never makes up; longer words before the ones they contain."""

WORDS = {
    "office": "office worker", "manual": "manual worker", "creative": "creative worker", "student": "student",
    "retired": "retired person", "city": "the city", "countryside": "the countryside", "coast": "the coast",
    "parent": "parent", "single": "single",
}  # fmt: skip

MADE_UP = {
    "nationality": ("Canadian", "Irish", "New Zealander", "South African", "Indian", "Jamaican", "Maltese"),
    "languages": ("English", "English and Spanish", "English and French", "English and Hindi", "English and Arabic"),
    "education": ("secondary school", "an apprenticeship", "a bachelor's degree", "a master's degree"),
    "political_affiliation": ("", "independent", "undecided", "votes in local elections only"),
    "personality": ("calm and patient", "curious and direct", "cheerful and forgetful", "shy and thorough"),
    "hobbies": ("a club once a week", "something different each month", "collecting facts", "time with friends"),
    "values": ("honesty and fairness", "independence", "loyalty", "kindness and thrift"),
    "technology_use": (
        "a phone for everything",
        "a laptop for the needful",
        "late to new devices",
        "tries new devices",
    ),
}


def profile_of(sentence: str, hints: Mapping[str, str], groups: Groups, rng: random.Random) -> dict[str, str]:
    """All fields of the profile. The first draw is the speaking style."""
    style = rng.choice(list(STYLES))
    profile = {
        "age": _age(groups, rng),
        "groups": ", ".join(groups.known),
        "speaking_style": style,
        **dict(zip(FACETS, STYLES[style], strict=True)),
    }
    padded = f" {sentence.lower().replace(',', ' ').replace('.', ' ')} "
    for field, values in SAID.items():
        named = (value for value in values if f" {value.lower()} " in padded)
        profile[field] = next(named, hints.get(field, ""))
    for field in ("occupation", "location", "family"):
        hint = hints.get(field, "")
        if field in groups.said and hint.lower() not in sentence.lower():
            hint = ""  # the sentence wins
        profile[field] = hint or " ".join(WORDS[group] for group in reversed(groups.of(field)))
    profile |= {field: rng.choice(values) for field, values in MADE_UP.items()}
    return profile


def _age(groups: Groups, rng: random.Random) -> str:
    """In digits: what is stated, else what fits the groups."""
    if groups.ages:
        return str(rng.choice(groups.ages))
    if {"older", "retired"} & set(groups.known):
        return "67"
    return "24" if {"young", "student"} & set(groups.known) else "41"
