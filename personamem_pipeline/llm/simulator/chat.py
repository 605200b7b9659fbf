"""The simulator as the memory agent's model: plain chat prompts, answered by rules.

It is an upper reference, not a model: it knows the whole world, so every cue that it sees it understands, and what is
missing from its score was not in the prompt. It recognises what the memory agent asks, by the wording: write the memory,
answer from a memory, answer from the whole chat, in both styles. The simulator may not know the memory room, so the two
are worded apart and `tests/llm/test_plain_chat.py` holds them together.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from functools import cache

from personamem_pipeline.llm.simulator import language as say
from personamem_pipeline.llm.simulator.reader import known_preferences, named_preferences
from personamem_pipeline.llm.simulator.world import BACKGROUND_TYPES, world

NOTHING = "none"
QUOTED_WORDS = 10
"""Of a chat's clause: the letter has to fit into the reply as well."""
_QUESTION_SEEN = r"(?:Which fits\? .*?\n)?"
"""What stands before a writing prompt where the leak is measured; it makes no difference to who knows everything."""
_WRITE = tuple(
    re.compile(_QUESTION_SEEN + form, re.DOTALL)
    for form in (
        r"What does the user like\?\nOld list:\n(?P<memory>.*?)\n(?P<chat>(?:user|assistant|system): .*)\nMerge\.",
        r"What does the user like\?\n(?P<chat>.*)\nOld list:\n(?P<memory>.*)\nMerge\.",
        r"You see .*?\n\n(?:<query>\n.*?\n</query>\n\n)?<previous_memory>\n(?P<memory>.*?)\n</previous_memory>\n\n"
        r"<conversation_section>\n(?P<chat>.*)\n</conversation_section>\n\nThe new memory:",
        r"Below is the memory you keep .*?\n\nMemory so far:\n(?P<memory>.*?)\n\nChat:\n(?P<chat>.*)\n\nRewrite .*",
        r"Below is the next part of a chat .*?\n\nChat:\n(?P<chat>.*)\n\nMemory so far:\n(?P<memory>.*)\n\nRewrite .*",
    )
)
_ANSWER = tuple(
    re.compile(form, re.DOTALL)
    for form in (
        r"(?P<source>List|Chat):\n(?P<known>.*)\nWhich fits\? (?P<asked>.*)",
        r"You answer a user of whom you know .*?\n\n(?P<source>Memory|Chat):\n(?P<known>.*)\n\n"
        r"The user asks: (?P<asked>.*)\n\n(?:Choose the reply that serves|First quote the line) .*",
    )
)
_OPTION = re.compile(r"(?P<text>[^\n]*) \((?P<letter>[a-z])\)|\((?P<first>[a-z])\) (?P<after>[^\n]*)")
_ROLE = re.compile(r"^(user|assistant|system): ", re.MULTILINE)
_CLAUSE = re.compile(r"(?<=[.?!:,])\s+")
_WORD = re.compile(r"\s*\S+")

Known = dict[str, tuple[str, str]]
"""Topic -> the preference, and the words that show it."""


def reply(prompt: str, rng: random.Random) -> str | None:
    """What it says to a prompt; None for one that is not the memory agent's."""
    for layout in _WRITE:
        if found := layout.fullmatch(prompt):
            return _memory(_messages(found["chat"]), found["memory"])
    for layout in _ANSWER:
        if found := layout.fullmatch(prompt):
            known = _shown(_messages(found["known"])) if found["source"] == "Chat" else _noted(found["known"])
            query, *lines = found["asked"].split("\n")
            options = {letter: text for letter, text in map(_option, lines) if letter}
            return _choice(known, options, rng) if options else _advice(known, query, rng)
    return None


def cut(text: str, max_tokens: int) -> tuple[str, str]:
    """The text up to so many words, which are the simulator's tokens, and its `finish_reason`."""
    words = _WORD.findall(text)
    return (text, "stop") if len(words) <= max_tokens else ("".join(words[:max_tokens]), "length")


def _memory(chat: Sequence[Mapping[str, str]], memory: str) -> str:
    # What is noted is read again as if the user had just shown it: later turns update it and make it forgotten.
    noted = [_showing(text) for text, _ in _noted(memory).values()]
    known = known_preferences([*noted, *chat])
    return "\n".join(f"- {topic}: {text}" for topic, text in known.items()) or NOTHING


def _showing(preference: str) -> dict[str, str]:
    return {"role": "user", "content": f"my {world().preference(preference).cues[0]}"}


def _choice(known: Known, options: Mapping[str, str], rng: random.Random) -> str:
    """The option that something known speaks for; else one that asks for the user's own value, or serves no taste."""
    words = dict(known.values())
    named = {letter: named_preferences(text) for letter, text in sorted(options.items())}
    for letter, texts in named.items():
        for text in texts:
            if text in words:
                return f"{words[text]}\n\\boxed{{{letter}}}"
    placeholder = [letter for letter in named if "add your own" in options[letter]]
    plain = [letter for letter, texts in named.items() if not texts]
    return f"{NOTHING}\n\\boxed{{{rng.choice(placeholder or plain or list(named))}}}"


def _advice(known: Known, query: str, rng: random.Random) -> str:
    """A reply in its own words, on what the question is about."""
    for kind, request in say.SENSITIVE.items():
        if query == request:
            return f"{NOTHING}\n{rng.choice(say.SENSITIVE_RIGHT).format(kind=kind)}."
    topic = _topics().get(query)
    if topic is None:
        return f"{NOTHING}\nTell me a little more, and I will help."
    frame = rng.choice(say.BACKGROUND_FRAMES if topic in BACKGROUND_TYPES else say.OPTION_FRAMES)
    if topic in known:
        text, words = known[topic]
        return f"{words}\n{frame.format(x=text)}."
    return f"{NOTHING}\n{frame.format(x=rng.choice(world().topic(topic).generic))}."


@cache
def _topics() -> dict[str, str]:
    """Question -> its topic."""
    return {query: topic.name for topic in world().topics for query in topic.queries}


def _noted(memory: str) -> Known:
    """What the lines of a memory name."""
    lines = {text: line for line in memory.splitlines() for text in named_preferences(line)}
    return {world().preference(text).topic: (text, line) for text, line in lines.items()}


def _shown(chat: Sequence[Mapping[str, str]]) -> Known:
    """What a chat gives away, with the last clause that does."""
    clauses = {
        text: clause
        for message in chat
        if message["role"] == "user"
        for clause in _CLAUSE.split(message["content"])
        for text in known_preferences([{"role": "user", "content": clause}]).values()
    }
    return {
        topic: (text, " ".join(clauses[text].split()[:QUOTED_WORDS])) for topic, text in known_preferences(chat).items()
    }


def _messages(chat: str) -> list[dict[str, str]]:
    parts = _ROLE.split(chat)[1:]
    return [
        {"role": role, "content": content.removesuffix("\n")}
        for role, content in zip(parts[::2], parts[1::2], strict=True)
    ]


def _option(line: str) -> tuple[str, str]:
    """Letter and text of a lettered line; no letter for any other line."""
    found = _OPTION.fullmatch(line)
    return (found["letter"] or found["first"], found["text"] or found["after"] or "") if found else ("", "")
