"""Whether a preference is said outright: by its words, or so that a reader could quote it.

The preferences are to be inferred. A query that says one, or a revealing turn that does, makes its question a test of
search and not of understanding.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+")
_FUNCTION_WORDS = frozenset(
    _WORD.findall(
        "a an and any are as at be been but by can could do does for from had has have he her hers him his how i if in "
        "into is it its just like likes more most my never no not of on one or our ours own she so some than that the their "
        "theirs them they this to too up use user users very was we were what when which who will with would you your "
        "yours prefer prefers preference enjoy enjoys love loves want wants"
    )
)
"""Words that a reader puts around a preference and that say nothing about which one it is."""
ENOUGH = 0.6
"""Share of content words (of the shorter text, or of the label) that the other must have for both to say the same."""


def names(text: str, label: str) -> bool:
    """Whether the text has the label in its very words, whatever their case."""
    return _spaced(label) in _spaced(text)


def same_preference(stated: str, label: str) -> bool:
    """Whether what a reader stated is the labelled preference.

    One contains the other (casefolded, whole words), or they share at least 60 % of the content words of the one that
    has fewer. Held loose on purpose: it decides what is *refused* as said outright. Nothing stated matches nothing.
    """
    one, two = _content(stated), _content(label)
    if not one or not two:
        return False
    if names(stated, label) or names(label, stated):
        return True
    return len(one & two) / min(len(one), len(two)) >= ENOUGH


def tells(text: str, label: str) -> bool:
    """Whether the text carries the label: its very words, or at least 60 % of its content words in any order.

    Unlike `same_preference` a part of a short label is not enough ("tea" does not tell "green tea"): it decides what is
    *credited*, to models that put a preference in words of their own.
    """
    wanted = _content(label)
    return names(text, label) or (bool(wanted) and len(_content(text) & wanted) / len(wanted) >= ENOUGH)


def _spaced(text: str) -> str:
    return f" {' '.join(_WORD.findall(text.casefold()))} "


def _content(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold())) - _FUNCTION_WORDS
