"""The simulator as a teacher: it rewrites memories and chooses options as a large model would, which is not always well.

It knows the whole world, so what it gets wrong it gets wrong on purpose, by its seed: some candidates lose the oldest
line, some write prose, some guess a letter. Whoever asks for several candidates has something to reject.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from personamem_pipeline.llm.simulator import language as say
from personamem_pipeline.llm.simulator.reader import known_preferences, named_preferences
from personamem_pipeline.llm.simulator.world import world

Json = Mapping[str, Any]
NONE = "none"
FORGETFUL, CHATTY, GUESSING = 0.3, 0.1, 0.3
"""Shares of candidates that lose a line, write no lines, or guess."""
_FORGET = re.compile(re.escape(say.FORGET_REQUEST.removeprefix("Please ")).replace(r"\{text\}", "([a-z ]+)"))


def teacher_memory(brief: Json, rng: random.Random) -> dict[str, Any]:
    """The memory after a chat: what it gives away first, then what still holds."""
    topics = {preference.text: preference.topic for preference in world().preferences}
    held = {topics[text]: text for line in str(brief["memory"]).splitlines() for text in named_preferences(line)[:1]}
    for message in brief["chat"]:
        request = _FORGET.search(message["content"]) if message["role"] == "user" else None
        if request and request[1] in topics:
            held.pop(topics[request[1]], None)
    news = known_preferences(brief["chat"])
    lines = [f"- {topic}: {text}" for topic, text in {**news, **held, **news}.items()]
    fate = rng.random()
    if fate < FORGETFUL:
        lines = lines[:-1]
    memory = "\n".join(lines) or NONE
    if FORGETFUL <= fate < FORGETFUL + CHATTY:
        memory = "What I know of the user so far: " + "; ".join([*news.values(), *held.values()])
    reasoning = f"The user's turns show {', '.join(news.values())}." if news else "The user's turns show nothing new."
    return {"reasoning": reasoning, "memory": memory}


def teacher_choice(brief: Json, rng: random.Random) -> dict[str, Any]:
    """The option that a line of the memory, or a turn of the chat, speaks for; else one that serves no taste."""
    options: dict[str, str] = brief["options"]
    if rng.random() < GUESSING:
        return {"reasoning": "I have a feeling.", "quote": NONE, "letter": rng.choice(sorted(options))}
    known = _known_lines(brief)
    for letter, text in sorted(options.items()):
        for named in named_preferences(text):
            if named in known:
                return {"reasoning": f"The user goes for {named}.", "quote": known[named], "letter": letter}
    plain = [letter for letter, text in sorted(options.items()) if not named_preferences(text)]
    placeholder = [letter for letter, text in sorted(options.items()) if "add your own" in text]
    letter = rng.choice(placeholder or plain or sorted(options))
    return {"reasoning": "Nothing that I know decides this.", "quote": NONE, "letter": letter}


def _known_lines(brief: Json) -> dict[str, str]:
    """Preference -> the line that shows it."""
    if "memory" in brief:
        return {text: line for line in str(brief["memory"]).splitlines() for text in named_preferences(line)}
    known = set(known_preferences(brief["chat"]).values())
    shown = [(message, set(known_preferences([message]).values()) & known) for message in brief["chat"]]
    return {text: message["content"].splitlines()[0] for message, texts in shown for text in texts}


TASKS: dict[str, Callable[[Json, random.Random], dict[str, Any]]] = {
    "teacher_memory": teacher_memory,
    "teacher_choice": teacher_choice,
}
