"""The machine behind long messages: neutral sentences from templates with slots, disjoint between the two editions.

A template's first slot is filled beforehand and each (template, value) belongs to one edition, so training and
benchmark never share such a sentence; the other slots are drawn. A few thousand half-filled sentences with free slots
give many millions of texts, so two sessions are no near-duplicates of each other.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache

from personamem_pipeline.llm.simulator.editions import in_edition

_PERSONS = (
    "Robin", "Casey", "Jordan", "Morgan", "Priya", "Tomas", "Ingrid", "Yusuf", "Marta", "Declan", "Noor", "Henrik",
    "Leila", "Oscar", "Petra", "Rafael", "Sunita", "Viktor", "Wanda", "Anselm", "Yara", "Zoltan", "Beatriz", "Colm",
)  # fmt: skip
_ITEMS = (
    "the invoice", "the timetable", "the floor plan", "the price list", "the protocol", "the contract draft",
    "the feedback form", "the delivery note", "the visitor list", "the safety sheet", "the survey", "the training plan",
)  # fmt: skip
_TEAMS = (
    "the sales team", "the accounts department", "the people from support", "the night shift", "the front office",
    "the legal department", "the planning group", "the staff in the warehouse", "the colleagues from abroad",
    "the purchasing unit", "the new trainees", "the committee",
)  # fmt: skip
SLOTS: dict[str, tuple[str, ...]] = {
    "person": _PERSONS[::2],
    "friend": _PERSONS[1::2],
    "day": (
        "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "the first Monday of the month",
        "that Tuesday", "Thursday evening", "Friday afternoon", "Saturday morning", "Sunday night", "the last Wednesday",
    ),
    "time": (
        "seven", "half past seven", "ten past eight", "a quarter to nine", "twenty past nine", "ten", "half past eleven",
        "noon", "a quarter past one", "ten to two", "half past three", "twenty to five", "six", "a quarter past eight",
    ),
    "month": (
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ),
    "number": (
        "three", "four", "five", "six", "seven", "eight", "nine", "twelve", "fifteen", "twenty", "thirty", "forty",
    ),
    "place": (
        "the corner shop", "the town hall", "the post office", "the bus stop by the bridge", "the school gate",
        "the car park behind the bank", "the pharmacy", "the library steps", "the petrol station", "the fire station",
        "the court building", "the city archive", "the old mill", "the market square", "the water tower",
    ),
    "office": (
        "the tax office", "the housing office", "the insurance", "the city council", "the job centre", "the bank",
        "the land registry", "the health insurance", "the school board", "the electricity company", "the residents' office",
        "the customs office",
    ),
    "trouble": (
        "a power cut", "a burst pipe", "a broken lift", "a lost parcel", "a wrong invoice", "a false alarm",
        "a blocked drain", "a delayed delivery", "a gas leak", "a jammed lock", "a fallen tree", "a computer failure",
    ),
    "weather": (
        "heavy rain", "thick fog", "a cold wind", "bright sunshine", "light snow", "hail", "sleet", "dry heat",
        "a long frost", "low clouds", "a warm breeze", "thunder",
    ),
    "item": _ITEMS,
    "Item": tuple(item.capitalize() for item in _ITEMS),
    "team": _TEAMS,
    "team_up": tuple(team.capitalize() for team in _TEAMS),
}  # fmt: skip
NEUTRAL_THINGS = (
    "door mat", "key ring", "extension cord", "stapler", "coat hanger", "laundry bag", "phone cable", "hand towel",
    "soap dish", "name tag", "waste bin", "letter opener", "shoe horn", "step stool", "desk fan", "ruler",
)  # fmt: skip
"""What small talk mentions in the sentences that elsewhere carry a cue: everybody has one, so it says nothing."""

_FIRST_SLOT = re.compile(r"\{(\w+)\}")


class _Values(dict[str, str]):
    """A mapping whose every look-up draws a value for the slot."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.choice = rng.choice

    def __getitem__(self, slot: str) -> str:
        return self.choice(SLOTS[slot])


def sentences(templates: tuple[str, ...], count: int, edition: str, rng: random.Random) -> list[str]:
    """`count` sentences of this edition from different templates, in a drawn order."""
    values, choice = _Values(rng), rng.choice
    return [choice(variants).format_map(values) for variants in rng.sample(half_filled(templates, edition), count)]


@cache
def half_filled(templates: tuple[str, ...], edition: str) -> list[Sequence[str]]:
    """For each template, the texts in which its first slot is filled with a value that belongs to this edition."""
    return [_variants(template, edition) for template in templates]


def _variants(template: str, edition: str) -> list[str]:
    slot = _FIRST_SLOT.search(template)
    if slot is None:
        raise ValueError(f"a sentence without a slot would be in both editions: {template!r}")
    pairs = in_edition([(template, value) for value in SLOTS[slot[1]]], edition)
    return [template[: slot.start()] + value + template[slot.end() :] for _, value in pairs]
