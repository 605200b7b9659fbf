"""Comparing short texts as a person would: words only, whatever their case and punctuation."""

from __future__ import annotations

import re


def words(text: str) -> tuple[str, ...]:
    """The words of a text, casefolded: `Green-Tea!` has `green` and `tea`."""
    return tuple(re.findall(r"\w+", text.casefold()))


def mentions(text: str, phrase: str) -> bool:
    """Whether the phrase's words stand in the text, in that order and side by side. A phrase without words never does."""
    wanted = " ".join(words(phrase))
    return bool(wanted) and f" {wanted} " in f" {' '.join(words(text))} "


def similarity(first: str, second: str) -> float:
    """Jaccard similarity of the two texts' sets of words, in [0, 1]; 0 when neither has words."""
    one, other = set(words(first)), set(words(second))
    return len(one & other) / len(one | other) if one or other else 0.0
