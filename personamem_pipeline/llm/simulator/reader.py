"""The simulator as a reader: what can be known from some turns, and which option that supports.

It knows the whole world, the unseen cues too, so it plays the strong reader that certificates need. With no evidence it
guesses, by its seed, as a blind reader would. Phrases are looked up by word, not tried one by one: a history is long and
the world has some 2,000 of them.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any

from personamem_pipeline.llm.simulator import language as say
from personamem_pipeline.llm.simulator.world import WorldPreference, world

Json = Mapping[str, Any]
_FORGET = re.compile(r"forget what I said about ([a-z ]+)\.")
_PLACEHOLDER = "add your own"
_MINE = frozenset(("my", "good", "of"))
"""A thing of the user's follows "my", "a good", "my kind of": "in the meeting room" is no cue."""
_SPACES = str.maketrans(dict.fromkeys(string.punctuation, " "))


@cache
def _somebody_elses() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """How each sentence about somebody else begins, and the whole of it.

    A mere "my boss" is not enough: one can argue with one's boss and mention one's own things.
    """
    others = f"(?:{'|'.join(say.OTHERS)})"
    return tuple(
        (
            frame.partition("{other}")[0],
            re.compile(re.escape(frame).replace(r"\{other\}", others).replace(r"\{cue\}", "[a-z ]+")),
        )
        for frame in say.OTHERS_REVEAL.values()
    )


@cache
def _cues_by_first_word() -> dict[str, list[tuple[list[str], WorldPreference]]]:
    """First word of a cue -> all its words and what it gives away, the longest cue first."""
    found: dict[str, list[tuple[list[str], WorldPreference]]] = {}
    for cue, preference in sorted(world().cues().items(), key=lambda item: len(item[0]), reverse=True):
        words = cue.split()
        found.setdefault(words[0], []).append((words, preference))
    return found


@cache
def _texts() -> dict[int, frozenset[str]]:
    """The preferences' texts by their number of words."""
    texts = [preference.text for preference in world().preferences]
    return {n: frozenset(t for t in texts if len(t.split()) == n) for n in sorted({len(t.split()) for t in texts})}


def _words(text: str) -> list[str]:
    return text.translate(_SPACES).split()


def named_preferences(text: str) -> list[str]:
    """The preferences of the world that a text names outright."""
    words = _words(text)
    return [
        phrase
        for size, texts in _texts().items()
        for phrase in map(" ".join, zip(*(words[start:] for start in range(size)), strict=False))
        if phrase in texts
    ]


def known_preferences(messages: Sequence[Json]) -> dict[str, str]:
    """Topic -> preference, as the user's own turns give it away up to the last one.

    What gives it away may stand anywhere in a long text: a cue of the user's, somebody else's words, which say nothing
    about the user, or a request to forget.
    """
    known: dict[str, str] = {}
    for message in messages:
        if message["role"] != "user":
            continue
        content = message["content"]
        if request := _FORGET.search(content):
            known.pop(world().preference(request[1]).topic, None)
            continue
        for beginning, sentence in _somebody_elses():
            if beginning in content:
                content = sentence.sub("", content)
        known |= {preference.topic: preference.text for preference in _owned(content)}
    return known


def _owned(text: str) -> list[WorldPreference]:
    """What the user's things in a text give away, in its order."""
    words, cues = _words(text), _cues_by_first_word()
    found: list[WorldPreference] = []
    for place in [place for place, word in enumerate(words) if word in cues]:
        if place and words[place - 1] in _MINE:
            fitting = (p for cue, p in cues[words[place]] if words[place : place + len(cue)] == cue)
            found += islice(fitting, 1)
    return found


def choice(brief: Json, rng: random.Random) -> dict[str, Any]:
    """The option that the turns support; a guess when there are no turns."""
    options: dict[str, str] = brief["options"]
    if not brief["turns"]:
        return {"answer": rng.choice(sorted(options))}
    known = set(known_preferences(brief["turns"]).values())
    named = {letter: named_preferences(text) for letter, text in sorted(options.items())}
    for letter, found in named.items():
        if known.intersection(found) or _PLACEHOLDER in options[letter]:
            return {"answer": letter}
    plain = [letter for letter, found in named.items() if not found]
    return {"answer": rng.choice(plain or sorted(options))}


def state(brief: Json, rng: random.Random) -> dict[str, Any]:
    """The first preference that a text names by its very words, or nothing: what anybody could quote from it."""
    return {"preference": next(iter(named_preferences(str(brief["text"]))), "")}
