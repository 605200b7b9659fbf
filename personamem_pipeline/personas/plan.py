"""What each person shall have, by seeded draws.

The plan, not the author, decides which types occur, what changes and what is to be forgotten, so that the balance of a
dataset does not depend on a model's moods.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from personamem_pipeline.presets import PersonasConfig
from personamem_pipeline.records import PreferenceType, Who
from personamem_pipeline.seeds import rng

TASTES: tuple[PreferenceType, ...] = ("stereotypical_pref", "anti_stereotypical_pref", "neutral_preferences")
BACKGROUNDS: tuple[PreferenceType, ...] = ("therapy_background", "health_and_medical_conditions")


@dataclass(frozen=True)
class Want:
    """One preference that a person shall have."""

    pref_type: PreferenceType
    who: Who = "self"
    updated: bool = False
    forgotten: bool = False


def plan_wants(person_id: str, config: PersonasConfig, seed: int) -> list[Want]:
    """What the person shall have: own preferences of evenly drawn types, then other people's, then private items.

    Each of the four chances is drawn `per_chance` times. What was worked through in therapy does not change, what
    changes is not to be forgotten; other people's and private items neither change nor are forgotten.
    """
    draw = rng(seed, "persona plan", person_id)
    deck: list[PreferenceType] = []
    wants: list[Want] = []
    while len(wants) < config.self_preferences:
        if not deck:
            deck = list(TASTES if wants else (*TASTES, *BACKGROUNDS))  # one background of a kind is enough
            draw.shuffle(deck)
        wants.append(Want(deck.pop()))
    changeable = [index for index, want in enumerate(wants) if want.pref_type != "therapy_background"]
    updated = _some(changeable, config.updated_share, config.per_chance, draw)
    rest = [index for index in range(len(wants)) if index not in updated]
    forgotten = _some(rest, config.forgotten_share, config.per_chance, draw)
    wants = [replace(want, updated=i in updated, forgotten=i in forgotten) for i, want in enumerate(wants)]
    for share, want in (
        (config.others_share, Want("neutral_preferences", who="others")),
        (config.sensitive_share, Want("sensitive_info")),
    ):
        wants += [want for _ in range(config.per_chance) if draw.random() < share]
    return wants


def _some(candidates: list[int], share: float, chances: int, draw: Random) -> set[int]:
    """Up to `chances` of the candidates, each chance taken with probability `share`."""
    left = list(candidates)
    for _ in range(chances):
        if draw.random() < share and left:
            left.remove(draw.choice(left))
    return set(candidates) - set(left)
