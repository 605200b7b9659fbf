"""What can be guessed from the shape of four options: guessers that read no model, no query and no history.

In the released PersonaMem-v2 data the right option of a forget or others row is the one plain text among three personal
ones. A guesser here knows that trick and its like; what it scores is what such a trick is worth on these questions, to
be held against chance (0.25). Certificates record the two by length, reports show all.

A guesser returns the places of the options it would pick, all of them where it cannot tell them apart; its score is then
what drawing one of them blindly gives on average.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

Guesser = Callable[[Sequence[str]], list[int]]
_WORD = re.compile(r"[^\W_]+")
_ALIKE = 1e-9
"""Differences below this are rounding."""


def longest(options: Sequence[str]) -> list[int]:
    """The option with the most characters."""
    return _most([len(text) for text in options])


def shortest(options: Sequence[str]) -> list[int]:
    """The option with the fewest characters."""
    return _most([-len(text) for text in options])


def odd_one_out(options: Sequence[str]) -> list[int]:
    """The option that shares the least with the other three."""
    return _most([-overlap for overlap in _overlaps(options)])


def most_alike(options: Sequence[str]) -> list[int]:
    """The option that shares the most with the other three: distractors are often variations of the right answer."""
    return _most(_overlaps(options))


def most_specific(options: Sequence[str]) -> list[int]:
    """The option with the most words of its own; plain answers are put in words that anybody uses."""
    sets = [_words(text) for text in options]
    others = [
        set[str]().union(*(words for other, words in enumerate(sets) if other != own)) for own in range(len(sets))
    ]
    return _most([len(words - rest) for words, rest in zip(sets, others, strict=True)])


GUESSERS: dict[str, Guesser] = {
    "longest": longest,
    "shortest": shortest,
    "odd_one_out": odd_one_out,
    "most_alike": most_alike,
    "most_specific": most_specific,
}


def guess_score(guesser: Guesser, options: Sequence[str]) -> float:
    """What the guesser scores on options whose first is right: 0, or 1 over the number of options it picks."""
    picked = guesser(options)
    return 1 / len(picked) if 0 in picked else 0.0


def plain_guess(kinds: Sequence[str]) -> float | None:
    """What always picking the plain answer scores; None where no option is labelled as one (private data, or a dataset
    that does not say what its distractors do).

    It reads the labels, so it is the best that any guesser by plainness could do. Rows of one kind are all right or all
    wrong under it: over a dataset it scores the share of the rows whose right answer leaves a taste alone.
    """
    plain = kinds.count("generic")
    plain_is_right = bool({"forgotten", "others"} & set(kinds))
    if not plain and not plain_is_right:
        return None
    return plain_is_right / (plain_is_right + plain)


def _most(values: Sequence[float]) -> list[int]:
    best = max(values)
    return [place for place, value in enumerate(values) if best - value <= _ALIKE]


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


def _overlaps(options: Sequence[str]) -> list[float]:
    """Of each option, the mean share of words in common with each other one (of the shorter of the two, so that a long
    option is not odd for its length)."""
    sets = [_words(text) for text in options]

    def common(one: set[str], two: set[str]) -> float:
        return len(one & two) / max(1, min(len(one), len(two)))

    return [
        sum(common(own, words) for other, words in enumerate(sets) if other != place) / (len(sets) - 1)
        for place, own in enumerate(sets)
    ]
