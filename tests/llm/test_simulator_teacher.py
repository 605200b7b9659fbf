"""The simulator as a teacher: often right, and wrong by its seed in ways that a checker must catch."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from personamem_pipeline.llm.simulator import language as say
from personamem_pipeline.llm.simulator import teacher
from personamem_pipeline.llm.simulator.world import world

KNOWN, NEW, OLD = (next(iter(topic.preferences)) for topic in world().topics[:3])
SEEDS = range(300)


def said(*texts: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text} for text in texts]


def line(preference: Any) -> str:
    return f"- {preference.topic}: {preference.text}"


def memories(chat: list[dict[str, str]], memory: str) -> Counter[str]:
    brief = {"chat": chat, "memory": memory, "lines": 40, "tokens": 200}
    return Counter(teacher.teacher_memory(brief, random.Random(seed))["memory"] for seed in SEEDS)


def test_it_notes_the_news_first_and_sometimes_loses_a_line_or_writes_prose() -> None:
    found = memories(said(f"How do I clean my {NEW.cues[0]}?"), line(KNOWN))
    (best, times), *others = found.most_common()
    assert best == f"{line(NEW)}\n{line(KNOWN)}" and 0.5 < times / len(SEEDS) < 0.7
    assert {line(NEW)} <= {text for text, _ in others}
    assert any(not text.startswith("- ") for text, _ in others)


def test_it_forgets_what_it_is_asked_to_and_replaces_what_changed() -> None:
    request = said(say.FORGET_REQUEST.format(text=KNOWN.text))
    assert memories(request, line(KNOWN)).most_common(1)[0][0] == teacher.NONE
    other = next(p for p in world().topic(KNOWN.topic).preferences if p.text != KNOWN.text)
    changed = memories(said(f"How do I clean my {other.cues[0]}?"), f"{line(KNOWN)}\n{line(OLD)}")
    assert changed.most_common(1)[0][0] == f"{line(other)}\n{line(OLD)}"


def choices(brief: dict[str, Any]) -> Counter[tuple[str, str]]:
    options = {"a": "Try tap water", "b": f"Try {KNOWN.text}", "c": f"Try {OLD.text}"}
    found = (teacher.teacher_choice({"options": options, **brief}, random.Random(seed)) for seed in SEEDS)
    return Counter((reply["letter"], reply["quote"]) for reply in found)


def test_it_quotes_what_speaks_for_an_option_and_sometimes_guesses() -> None:
    told = f"How do I clean my {KNOWN.cues[0]}?"
    for brief, quote in (({"memory": f"{line(NEW)}\n{line(KNOWN)}"}, line(KNOWN)), ({"chat": said("Hi", told)}, told)):
        (best, times), *others = choices(brief).most_common()
        assert best == ("b", quote) and 0.6 < times / len(SEEDS) < 0.8
        assert {letter for (letter, _), _ in others} == {"a", "b", "c"}
    assert choices({"memory": teacher.NONE}).most_common(1)[0][0] == ("a", teacher.NONE)
