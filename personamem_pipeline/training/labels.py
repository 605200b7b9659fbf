"""What a perfect reader would know after each chunk, and how much of it a memory holds.

The labels come from the dataset (which turn gives which preference away), never from a question. Rewards pay by them, SFT
targets are built from them and accepted by them, and the training log watches them. A memory holds a preference when one
of its lines has the labelled words, or most of them. What means the same in other words is not seen, so figures of real
models are lower bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from personamem_pipeline.memory.chunking import Chunk
from personamem_pipeline.questions.stating import tells
from personamem_pipeline.records import History, Preference, Session


@dataclass(frozen=True)
class Revealed:
    """What the user has given away of themselves up to the end of a chunk."""

    kept: Mapping[str, str]
    """Topic -> preference that holds now, in the order of an ideal memory: the chunk's news first."""
    news: Mapping[str, str]
    """The part of `kept` that this chunk gave away."""
    forgotten: tuple[str, ...]
    """What was asked to be forgotten and not said anew."""
    sessions: tuple[Session, ...]
    """What this chunk gave away, private values and other people's included: the sessions whose evidence it completes."""


@dataclass(frozen=True)
class ChunkLabels:
    """What is true of the user once a chunk has been read."""

    live: tuple[str, ...]
    """The user's own preferences that hold now, in their labelled words: revealed, not superseded, not to be forgotten."""
    news: frozenset[str]
    """Those of `live` that this chunk gave away."""
    forbidden: tuple[str, ...]
    """What the user asked to forget up to now and has not said anew, in the labelled words."""


def reveal(history: History, chunks: Sequence[Chunk]) -> Iterator[Revealed]:
    """What is known after each chunk, one after another.

    A session counts once all its evidence has been read. There is one preference per topic: an update takes the old one's
    place. Other people's preferences and private values are nobody's to note.
    """
    kept: dict[str, str] = {}
    forgotten: dict[str, None] = {}
    seen: set[str] = set()
    pending = [session for session in history.sessions if session.preference is not None]
    for chunk in chunks:
        seen.update(message.turn_id for message in chunk)
        read = [session for session in pending if set(session.evidence) <= seen]
        pending = [session for session in pending if session not in read]
        news: dict[str, str] = {}
        for session in read:
            preference = session.preference
            if preference is None or not _to_note(preference):
                continue
            if session.event == "forgets":
                news.pop(preference.topic, None)
                kept.pop(preference.topic, None)
                forgotten[preference.text] = None
            else:
                news[preference.topic] = preference.text
                forgotten.pop(preference.text, None)
        kept = news | {topic: text for topic, text in kept.items() if topic not in news}
        yield Revealed(dict(kept), dict(news), tuple(forgotten), tuple(read))


def _to_note(preference: Preference) -> bool:
    return preference.who == "self" and preference.pref_type != "sensitive_info"


def chunk_labels(history: History, chunks: Sequence[Chunk]) -> list[ChunkLabels]:
    """The labels after each chunk: `len(chunks)` of them."""
    return [
        ChunkLabels(
            live=tuple(dict.fromkeys(revealed.kept.values())),
            news=frozenset(revealed.news.values()),
            forbidden=tuple(text for text in revealed.forgotten if not _part_of_what_holds(text, revealed)),
        )
        for revealed in reveal(history, chunks)
    ]


def _part_of_what_holds(text: str, revealed: Revealed) -> bool:
    """Whether a line that belongs in the memory says the text anyway ("tea" in "green tea"): nobody could obey then."""
    return any(tells(f"{topic} {kept}", text) for topic, kept in revealed.kept.items())


def holds(memory: str, preference: str) -> bool:
    """Whether one line of the memory tells the preference, in its labelled words or in most of them."""
    return any(tells(line, preference) for line in memory.splitlines())


def retained(memory: str, labels: ChunkLabels) -> float | None:
    """Share of all that holds now which the memory has, 0..1; None when there is nothing to have."""
    return _share(memory, labels.live)


def retention(before: str, after: str, labels: ChunkLabels) -> float | None:
    """How well one turn did, 0..1: the share that `after` holds of what was within its reach.

    Within reach are the chunk's news and what the memory `before` still held: a turn is not told off for what earlier ones
    lost. None when nothing was within reach.
    """
    attainable = [text for text in labels.live if text in labels.news or holds(before, text)]
    return _share(after, attainable)


def forbidden_share(memory: str, labels: ChunkLabels) -> float | None:
    """Share of what was to be forgotten that still stands in the memory, 0..1; None when there is nothing to forget."""
    return _share(memory, labels.forbidden)


def _share(memory: str, preferences: Sequence[str]) -> float | None:
    if not preferences:
        return None
    return sum(holds(memory, text) for text in preferences) / len(preferences)
