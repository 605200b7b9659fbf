"""A textbook in the simulator's language, from which the tiny base model of this repository is pre-trained.

    python -m personamem_pipeline.llm.simulator.textbook --rows 320000 --out textbook.jsonl

Five kinds of exercise: what a thing goes with, who likes what in some sentences, merging two lists, finding the line that
decides a question, answering from it. None asks to merge *sentences* into a list: reading a chat chunk by chunk, keeping
what is already noted, is left to SFT and GRPO. No person occurs in it, and no combination of cue, sentence and question
that belongs to the benchmark, nor an unseen cue.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from personamem_pipeline.llm.simulator import language as say
from personamem_pipeline.llm.simulator.editions import private_value, queries
from personamem_pipeline.llm.simulator.sessions import session
from personamem_pipeline.llm.simulator.world import BACKGROUND_TYPES, WorldPreference, world
from personamem_pipeline.records import CONVERSATION_TYPES
from personamem_pipeline.seeds import rng

Exercise = tuple[str, str]
WEIGHTS = {"goes_with": 1, "who_likes": 4, "merge": 6, "decide": 5, "suggest": 3}
NOTHING = "none"


def exercises(rows: int, seed: int) -> Iterator[dict[str, str]]:
    """`rows` exercises as {"kind", "prompt", "target"}; the same seed gives the same book."""
    makers: dict[str, Callable[[random.Random], Exercise]] = {
        "goes_with": _goes_with,
        "who_likes": _who_likes,
        "merge": _merge,
        "decide": _decide,
        "suggest": _suggest,
    }
    for row in range(rows):
        draw = rng(seed, "textbook", row)
        kind = draw.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        prompt, target = makers[kind](draw)
        yield {"kind": kind, "prompt": prompt, "target": target}


def _line(preference: WorldPreference) -> str:
    return f"- {preference.topic}: {preference.text}"


def _goes_with(draw: random.Random) -> Exercise:
    items = draw.sample(world().preferences, 4)
    cues = [draw.choice(item.cues) for item in items]
    return f"What goes with these: {', '.join(cues)}?", "\n".join(map(_line, items))


def _session(draw: random.Random, preference: WorldPreference, *, who: str = "self", previous: str = "") -> list[str]:
    brief = {
        "event": "updates" if previous else "reveals",
        "pref_type": BACKGROUND_TYPES.get(preference.topic, "neutral_preferences"),
        "topic": preference.topic,
        "preference": preference.text,
        "previous": previous,
        "who": who,
        "conversation_type": draw.choice(CONVERSATION_TYPES),
        "edition": "training",
        "wording": "seen",
    }
    return _said(brief, draw)


def _small_talk(draw: random.Random) -> list[str]:
    brief: dict[str, str] = {"event": "small_talk"}
    if draw.random() < 0.3:
        brief = {"event": "reveals", "pref_type": "sensitive_info", "topic": "door code"}
        brief |= {"conversation_type": "professional_writing"}
        brief |= {"preference": private_value(draw), "who": "self"}
    return _said(brief, draw)


def _forgotten(draw: random.Random, preference: WorldPreference) -> list[str]:
    return _said({"event": "forgets", "topic": preference.topic, "preference": preference.text}, draw)


def _said(brief: Mapping[str, Any], draw: random.Random) -> list[str]:
    return [f"{message['role']}: {message['content']}" for message in session(brief, draw)["messages"]]


def _distinct(draw: random.Random, count: int) -> list[WorldPreference]:
    """That many preferences, no two of one topic."""
    return [draw.choice(topic.preferences) for topic in draw.sample(world().topics, count)]


def _who_likes(draw: random.Random) -> Exercise:
    found: dict[str, WorldPreference] = {}
    lines: list[str] = []
    for preference in _distinct(draw, draw.randrange(1, 5)):
        kind = draw.random()
        if kind < 0.2:
            lines += _session(draw, preference, who="others")
        elif kind < 0.35:
            lines += _small_talk(draw)
        elif kind < 0.45:
            lines += _forgotten(draw, preference)
        elif kind < 0.6:
            old = draw.choice([p for p in world().topic(preference.topic).preferences if p != preference])
            lines += _session(draw, preference, previous=old.text)
            found[preference.topic] = preference
        else:
            lines += _session(draw, preference)
            found[preference.topic] = preference
    return "What does the user like?\n" + "\n".join(lines), _block(list(found.values()))


def _merge(draw: random.Random) -> Exercise:
    old = _distinct(draw, draw.randrange(0, 7))
    news = {preference.topic: preference for preference in _distinct(draw, draw.randrange(0, 4))}
    if old and draw.random() < 0.4:
        changed = draw.choice(world().topic(draw.choice(old).topic).preferences)
        news[changed.topic] = changed
    told = [_line(preference) for preference in news.values()]
    stays = [preference for preference in old if preference.topic not in news]
    if stays and draw.random() < 0.3:
        gone = stays.pop(draw.randrange(len(stays)))
        told.insert(draw.randrange(len(told) + 1), f"forget {gone.text}")
    prompt = "News:\n" + ("\n".join(told) or NOTHING) + f"\nOld list:\n{_block(old)}\nMerge."
    return prompt, _block([*news.values(), *stays])


def _block(preferences: list[WorldPreference]) -> str:
    return "\n".join(map(_line, preferences)) or NOTHING


def _decide(draw: random.Random) -> Exercise:
    listed, target, query, right, wrong = _question(draw)
    options = [right, *wrong]
    draw.shuffle(options)
    letter = "abcd"[options.index(right)]
    shown = "\n".join(f"{text} ({key})" for key, text in zip("abcd", options, strict=True))
    prompt = f"List:\n{_block(listed)}\nWhich fits? {query}\n{shown}"
    return prompt, _line(target) if target in listed else f"{NOTHING} \\boxed{{{letter}}}"


def _suggest(draw: random.Random) -> Exercise:
    listed, target, query, right, _ = _question(draw)
    line = _line(target) if target in listed else NOTHING
    return f"List:\n{_block(listed)}\nWhich fits? {query}", f"{line}\n{right}"


def _question(draw: random.Random) -> tuple[list[WorldPreference], WorldPreference, str, str, list[str]]:
    """A list, what a question is about (in the list or not), the question, its right answer and three wrong ones.

    Written here rather than by `questions.question`, whose recipes and length balance a pupil has no use for.
    """
    listed = _distinct(draw, draw.randrange(0, 7))
    rest = [topic for topic in world().topics if topic.name not in {p.topic for p in listed}]
    use = bool(listed) and draw.random() < 0.6
    target = draw.choice(listed) if use else draw.choice(draw.choice(rest).preferences)
    topic = world().topic(target.topic)
    frame = draw.choice(say.BACKGROUND_FRAMES if target.topic in BACKGROUND_TYPES else say.OPTION_FRAMES)
    generic = draw.choice(topic.generic)
    others = [preference.text for preference in topic.preferences if preference != target]
    draw.shuffle(others)
    right, wrong = (target.text, [*others[:2], generic]) if use else (generic, [target.text, *others[:2]])
    query = draw.choice(queries(target.topic, target.text, "training"))
    return listed, target, query, frame.format(x=right), [frame.format(x=text) for text in wrong]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=320_000, help="exercises to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of every draw")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines file to write")
    arguments = parser.parse_args()
    with arguments.out.open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in exercises(arguments.rows, arguments.seed))


if __name__ == "__main__":
    main()
