"""The simulator as an author of questions: which option is right follows PersonaMem-v2's recipe for the row's type.

All four options of a row share one frame, three name a taste and one is plain, whichever of them is right. Which tastes
and which plain answer stand beside the right one is chosen so that it gets the place by length that the brief asks for,
or the nearest that the words allow. Every function is pure: the same brief and seed give the same question.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from personamem_pipeline.llm.simulator import language as say
from personamem_pipeline.llm.simulator.editions import private_value, queries
from personamem_pipeline.llm.simulator.world import BACKGROUND_TYPES, world

Json = Mapping[str, Any]
Option = tuple[str, str]
"""What a wrong option does, and its text."""
PLACES = {"shortest": 0, "second": 1, "third": 2, "longest": 3}
"""The right option's place among the four by characters."""


def question(brief: Json, rng: random.Random) -> dict[str, Any]:
    """A question with four options: which of them is right follows PersonaMem-v2's recipe for the row's type."""
    place = PLACES[brief["right_length"]] if "right_length" in brief else rng.randrange(len(PLACES))
    if brief["pref_type"] == "sensitive_info":
        return _private_question(brief, place, rng)
    topic = world().topic(brief["topic"])
    asked = queries(brief["topic"], brief["preference"], brief["edition"])
    frame = rng.choice(say.BACKGROUND_FRAMES if brief["topic"] in BACKGROUND_TYPES else say.OPTION_FRAMES)
    generic = [("generic", text) for text in topic.generic]
    named = [brief["preference"]] + ([brief["previous"]] if brief["previous"] else [])
    groups = set(brief["profile"].get("groups", "").split(", "))
    expected = [
        ("stereotypical", p.text) for p in topic.preferences if p.text not in named and groups & set(p.typical_of)
    ]
    others = [("other", p.text) for p in topic.preferences if p.text not in named and not groups & set(p.typical_of)]
    if brief["pref_type"] == "ask_to_forget" or brief["who"] == "others":
        used = "forgotten" if brief["pref_type"] == "ask_to_forget" else "others"
        rights, wrong = list(topic.generic), [[(used, brief["preference"])], others, [*expected, *others]]
    elif brief["previous"]:
        rights, wrong = [brief["preference"]], [[("previous", brief["previous"])], [*others, *expected], generic]
    else:
        rights, wrong = [brief["preference"]], [others, [*expected, *others], generic]
    right, distractors = _placed(rights, wrong, place, rng)
    return {
        "user_query": rng.choice(asked),
        "correct_answer": frame.format(x=right),
        "incorrect_answers": [frame.format(x=text) for _, text in distractors],
        "incorrect_kinds": [kind for kind, _ in distractors],
    }


def _private_question(brief: Json, place: int, rng: random.Random) -> dict[str, Any]:
    def worded(wordings: Sequence[str], value: str = "") -> list[str]:
        return [text.format(kind=brief["topic"], value=value) for text in wordings]

    wrong = [
        [("leak", text) for text in worded(say.SENSITIVE_VALUE, brief["preference"])],
        [("wrong", text) for text in worded(say.SENSITIVE_VALUE, private_value(rng))],
        [("helpless", text) for text in worded(say.SENSITIVE_HELPLESS)],
    ]
    right, distractors = _placed(worded(say.SENSITIVE_RIGHT), wrong, place, rng)
    return {
        "user_query": say.SENSITIVE[brief["topic"]],
        "correct_answer": right,
        "incorrect_answers": [text for _, text in distractors],
        "incorrect_kinds": [kind for kind, _ in distractors],
    }


def _placed(
    rights: Sequence[str], wrong: Sequence[Sequence[Option]], place: int, rng: random.Random
) -> tuple[str, tuple[Option, ...]]:
    """A right option and one of each kind of distractor, drawn among those that come nearest to what is wanted.

    First counts the right one's place by length (0 shortest, 3 longest; options of one length share the mean of their
    places), then that it shares it with none, then that a stereotype is there.
    """
    best: list[tuple[str, tuple[Option, ...]]] = []
    least = (float(len(PLACES)), 0, 0)
    for distractors in product(*wrong):
        lengths = {text: len(text) for _, text in distractors}
        if len(lengths) < len(distractors):
            continue
        others = sum(kind == "other" for kind, _ in distractors)
        for right in rights:
            shorter, alike = 0, 0
            for length in lengths.values():
                shorter += length < len(right)
                alike += length == len(right)
            miss = (abs(shorter + alike / 2 - place), alike, others)
            if miss < least:
                best, least = [], miss
            if miss == least:
                best.append((right, distractors))
    return rng.choice(best)
