"""The built-in pool of padding: questions about numbers, units, dates and code, with worked answers.

They have nothing to do with anybody, which is the point. Dialogue i of a split is made when it is needed and is always
the same; the two splits share no message, since each has names of its own and every message holds one.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from personamem_pipeline.conversations.worked.code import code_question
from personamem_pipeline.conversations.worked.numbers import equation, order, statistics, trip, units
from personamem_pipeline.conversations.worked.steps import bases, dates, factors, sorting
from personamem_pipeline.records import Split
from personamem_pipeline.seeds import rng

NAMES: dict[Split, tuple[str, ...]] = {
    "training": (
        "Adler", "Bowen", "Castro", "Deng", "Ekman", "Fischer", "Garcia", "Haddad", "Ivanov", "Jensen", "Kaya", "Lund",
        "Moreau", "Novak", "Okoye", "Petrov", "Quist", "Rossi", "Sato", "Tanaka",
    ),
    "benchmark": ("Ueda", "Varga", "Weber", "Xu", "Yilmaz", "Zimmer", "Almeida", "Brandt", "Cohen", "Dubois"),
}  # fmt: skip
_KINDS: tuple[Callable[[str, random.Random], tuple[str, str]], ...] = (
    order, code_question, trip, units, code_question, sorting, equation, code_question, statistics, bases,
    dates, code_question, factors,
)  # fmt: skip


def worked_example(index: int, split: Split) -> tuple[str, str]:
    """Dialogue `index` of the split: (question, worked answer), about 100 to 400 gpt-4o tokens together."""
    draw = rng(0, "padding", split, index)
    return _KINDS[index % len(_KINDS)](draw.choice(NAMES[split]), draw)
