"""The simulator as an author of questions: which option is right follows PersonaMem-v2's recipe for the row's type.

Every function is pure: the same brief and seed give the same question.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from personamem_pipeline.llm.simulator import language as say
from personamem_pipeline.llm.simulator.editions import private_value, queries
from personamem_pipeline.llm.simulator.world import BACKGROUND_TYPES, world

Json = Mapping[str, Any]


def question(brief: Json, rng: random.Random) -> dict[str, Any]:
    """A question with four options: which of them is right follows PersonaMem-v2's recipe for the row's type."""
    if brief["pref_type"] == "sensitive_info":
        return _private_question(brief, rng)
    topic = world().topic(brief["topic"])
    asked = queries(brief["topic"], brief["preference"], brief["edition"])
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
        "user_query": rng.choice(asked),
        "correct_answer": frame.format(x=right),
        "incorrect_answers": [frame.format(x=text) for text in wrong],
    }


def _private_question(brief: Json, rng: random.Random) -> dict[str, Any]:
    wrong = private_value(rng)
    right, *rest = (
        text.format(kind=brief["topic"], value=brief["preference"], wrong=wrong) for text in say.SENSITIVE_OPTIONS
    )
    return {"user_query": say.SENSITIVE[brief["topic"]], "correct_answer": right, "incorrect_answers": rest}
