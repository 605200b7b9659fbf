"""Which groups of the world a person belongs to, as the seed sentence and the hints say it.

The sentence wins: a hint counts only where the sentence says nothing of its kind. What neither says is `open`, and the
simulator, like any author, may make it up.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from personamem_pipeline.llm.simulator.world import OPPOSITE_TAGS

KINDS = {
    "age": ("young", "older"),
    "occupation": ("office", "manual", "creative", "student", "retired"),
    "location": ("city", "countryside", "coast"),
    "family": ("parent", "single"),
}
"""Attribute -> the groups that speak of it."""

MADE_UP = ("age", "location", "family")
"""What the author decides where nobody says it. Most sentences name an occupation, in words unknown to this world."""

YOUNG, OLDER = 30, 65
"""Below the one a stated age makes a person young, from the other on older."""

_AGE = re.compile(r"\baged? (\d{1,3})(?: to (\d{1,3}))?\b|\b(\d{1,3})[ -]years?[ -]old\b")


@dataclass(frozen=True)
class Groups:
    """The groups a person is known to belong to, and those that nothing speaks against."""

    known: tuple[str, ...]
    open: tuple[str, ...]
    ages: range | None = None
    """The years that sentence or hint state in digits."""
    said: frozenset[str] = frozenset()
    """The kinds of which the sentence itself speaks."""

    def of(self, kind: str) -> tuple[str, ...]:
        """The known groups of one kind."""
        return tuple(group for group in KINDS[kind] if group in self.known)

    def joined_by(self, group: str) -> Groups:
        """The person also belongs to `group`; what contradicts it is no longer open, nor is another of its kind."""
        kind = next(groups for groups in KINDS.values() if group in groups)
        left = [other for other in self.open if other not in kind and not contradict(group, other)]
        return replace(self, known=(*self.known, group), open=tuple(left))


def groups_of(sentence: str, hints: Mapping[str, str], rng: random.Random) -> Groups:
    """The groups of a person; for one of whom nothing is known, the author makes up two."""
    ages = _stated_ages(sentence)
    named = _named(sentence, ages)
    closed = {kind for kind, groups in KINDS.items() if named & set(groups)}
    if ages or "middle-aged" in sentence.lower():
        closed.add("age")
    said = frozenset(closed)
    for kind in KINDS:
        if kind in hints and kind not in closed:
            closed.add(kind)
            if kind == "age":
                ages = _stated_ages(f"aged {hints[kind]}")
            named |= _named(hints[kind], ages) & set(KINDS[kind])
    known = tuple(group for group in OPPOSITE_TAGS if group in named)
    spare = [group for kind in MADE_UP if kind not in closed for group in KINDS[kind]]
    left = tuple(group for group in spare if not any(contradict(group, mine) for mine in known))
    groups = Groups(known, left, ages, said)
    if not known:
        for _ in ("one", "two"):
            groups = groups.joined_by(rng.choice(groups.open)) if groups.open else groups
    return groups


def contradict(one: str, other: str) -> bool:
    """Whether the world holds the two groups against each other."""
    return other in OPPOSITE_TAGS[one] or one in OPPOSITE_TAGS[other]


def opposites(known: Sequence[str]) -> set[str]:
    """The groups whose tastes nobody would expect of somebody of these groups."""
    return {tag for mine in known for tag in OPPOSITE_TAGS[mine]} - set(known)


def _stated_ages(text: str) -> range | None:
    found = _AGE.search(text.lower())
    if found is None:
        return None
    low = int(found[1] or found[3])
    return range(low, int(found[2] or low) + 1) or None  # None for a range that ends before it begins


def _named(text: str, ages: range | None) -> set[str]:
    named = set(re.findall(r"[a-z]+", text.lower())) & set(OPPOSITE_TAGS)
    if ages and ages[0] < YOUNG:
        named.add("young")
    if ages and ages[0] >= OLDER:
        named.add("older")
    return named
