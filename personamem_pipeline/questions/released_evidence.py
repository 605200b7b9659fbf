"""Finding a row's conversation snippet in its person's history.

The released files point to evidence by repeating it. A third party's audit of released histories found nine in ten snippets
word by word; the rest differ in white space or were lightly rewritten, or belong to private items that their own locator
did not find either. So the search goes from strict to lax and says how far it had to go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from personamem_pipeline.records import Message

How = Literal["exact", "normalised", "scattered", "partial", "none"]
HOWS: tuple[How, ...] = ("exact", "normalised", "scattered", "partial", "none")
DISTINCT = 40
"""Characters from which on a message found alone is taken for the snippet's: `Thanks!` could be anybody's."""


@dataclass(frozen=True)
class Located:
    """Where a snippet is in a history.

    `exact`: the same messages in a row; `normalised`: the same but for white space; `scattered`: all of them, in order, with
    others between; `partial`: some of its longer messages, or messages that hold them; `none`: nothing.
    """

    how: How
    places: tuple[int, ...]
    """Indices into the history's messages, ascending."""


def locate(
    turns: Sequence[tuple[str, str]], messages: Sequence[Message], tokens_to_end: Callable[[int], float] | None = None
) -> Located:
    """Find (role, text) turns among messages. Of several equal places, the first (as PersonaMem-v2 counts its distances),
    or the one for which `tokens_to_end` (how far off the released distance a start is) is smallest."""
    wanted = [(role, text) for role, text in turns if text.strip()]
    if not wanted:
        return Located("none", ())
    for how, form in (("exact", _same), ("normalised", normalised)):
        texts = [form(message.content) for message in messages]
        found = _in_a_row([(role, form(text)) for role, text in wanted], messages, texts)
        if found:
            start = found[0] if len(found) == 1 or tokens_to_end is None else min(found, key=tokens_to_end)
            return Located("exact" if how == "exact" else "normalised", tuple(range(start, start + len(wanted))))
    texts = [normalised(message.content) for message in messages]
    sought = [(role, normalised(text)) for role, text in wanted]
    starts = [place for place in range(len(messages)) if _matches(sought[0], messages[place], texts[place])]
    if tokens_to_end is not None:
        starts.sort(key=tokens_to_end)
    for start in starts:
        if places := _in_order(sought, messages, texts, start):
            return Located("scattered", places)
    places = tuple(
        place
        for place, (message, text) in enumerate(zip(messages, texts, strict=True))
        if any(_holds(turn, message, text) for turn in sought)
    )
    return Located("partial", places) if places else Located("none", ())


def normalised(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())


def _same(text: str) -> str:
    return text


def _matches(turn: tuple[str, str], message: Message, text: str) -> bool:
    return turn[1] == text and turn[0] in ("", message.role)


def _holds(turn: tuple[str, str], message: Message, text: str) -> bool:
    if message.role == "system" or turn[0] not in ("", message.role):
        return False
    return len(text) >= DISTINCT and len(turn[1]) >= DISTINCT and (turn[1] in text or text in turn[1])


def _in_a_row(turns: Sequence[tuple[str, str]], messages: Sequence[Message], texts: Sequence[str]) -> list[int]:
    return [
        start
        for start in range(len(messages) - len(turns) + 1)
        if all(_matches(turn, messages[start + i], texts[start + i]) for i, turn in enumerate(turns))
    ]


def _in_order(
    turns: Sequence[tuple[str, str]], messages: Sequence[Message], texts: Sequence[str], start: int
) -> tuple[int, ...]:
    """Places of all turns in order from `start` on; empty when one is not there."""
    places = [start]
    for turn in turns[1:]:
        following = (
            place for place in range(places[-1] + 1, len(messages)) if _matches(turn, messages[place], texts[place])
        )
        place = next(following, None)
        if place is None:
            return ()
        places.append(place)
    return tuple(places)
