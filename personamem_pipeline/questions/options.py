"""The one place where options get their letters.

Certificates, training and evaluation all shuffle through here, so that a question looks the same to everybody and in
every process. (The released PersonaMem-v2 code shuffles by Python's `hash()`, which differs from process to process.)
"""

from __future__ import annotations

from itertools import permutations

from personamem_pipeline.records import Question
from personamem_pipeline.seeds import rng, stable_int

LETTERS = "abcd"
ORDERS = 24
"""Different orders of four options."""


def lettered(question: Question, seed: int, order: int = 0) -> tuple[dict[str, str], str]:
    """The options under letters in their seeded order number `order`, and the right one's letter.

    Any four orders in a row from a multiple of four put the right option once under each letter, so that a reader with
    a favourite letter scores exactly chance; orders 0 to 23 are all different.
    """
    right, *wrong = question.options
    arrangements = list(permutations(wrong))
    rng(seed, "options", question.question_id).shuffle(arrangements)
    turns, place = divmod(order % ORDERS, len(LETTERS))
    place = (place + stable_int(seed, "right option", question.question_id)) % len(LETTERS)
    texts = list(arrangements[turns])
    texts.insert(place, right)
    return dict(zip(LETTERS, texts, strict=True)), LETTERS[place]
