"""What a perfect memory agent would have written: SFT targets from the labelled evidence.

The ideal memory after a chunk holds one line per preference that the user's own turns have given away so far, the news of
the chunk first, then what still holds of the memory before it: an update replaces its line, a request to forget removes
it; other people's preferences, private values and small talk are never noted. An answer quotes the line that decides it,
then answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from personamem_pipeline.memory.chunking import Chunk
from personamem_pipeline.memory.prompts import EMPTY, boxed
from personamem_pipeline.records import History, Question, Session


def memory_line(topic: str, preference: str) -> str:
    """The one form of a memory line in SFT targets."""
    return f"- {topic}: {preference}"


def ideal_memories(history: History, chunks: Sequence[Chunk]) -> list[str]:
    """The ideal memory after each chunk: `len(chunks)` texts."""
    kept: dict[str, str] = {}
    memories: list[str] = []
    seen: set[str] = set()
    pending = [session for session in history.sessions if session.preference is not None]
    for chunk in chunks:
        seen.update(message.turn_id for message in chunk)
        known = [session for session in pending if set(session.evidence) <= seen]
        pending = [session for session in pending if session not in known]
        news: dict[str, str] = {}
        for session in known:
            _apply(session, news, kept)
        kept = news | {topic: line for topic, line in kept.items() if topic not in news}
        memories.append("\n".join(kept.values()) or EMPTY)
    return memories


def _apply(session: Session, news: dict[str, str], kept: dict[str, str]) -> None:
    preference = session.preference
    if preference is None or preference.who == "others" or preference.pref_type == "sensitive_info":
        return
    if session.event == "forgets":
        news.pop(preference.topic, None)
        kept.pop(preference.topic, None)
    else:  # one line per topic: an update takes the old one's place
        news[preference.topic] = memory_line(preference.topic, preference.text)


def deciding_line(question: Question) -> str:
    """The line of an ideal memory that decides a question; `none` where the right answer assumes nothing."""
    if question.who == "others" or question.pref_type in ("ask_to_forget", "sensitive_info"):
        return EMPTY
    return memory_line(question.topic, question.preference)


def ideal_answer(question: Question, style: str, options: Mapping[str, str] | None, letter: str | None) -> str:
    """The target of an answer turn: multiple choice with options and the right letter, open-ended without.

    A choice is the deciding line and the boxed letter. In the `compact` style the deciding line alone is the choice
    (`parse_choice` finds its words in one option): pointing at a letter by content is more than the tiny model can do.
    """
    line = deciding_line(question)
    if options is None or letter is None:
        return f"{line}\n{question.correct_answer}"
    return line if style == "compact" and line != EMPTY else f"{line} {boxed(letter)}"
