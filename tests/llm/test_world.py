"""The rules of the simulator's world. Each protects the honesty of a question or the learnability of a cue."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from personamem_pipeline.llm.simulator import language as say
from personamem_pipeline.llm.simulator.world import BACKGROUND_TYPES, OPPOSITE_TAGS, Topic, world
from personamem_pipeline.records import CONVERSATION_TYPES

PHRASE = re.compile(r"[a-z]+( [a-z]+)*")
TOPICS = world().topics
# Harmless, as the phrases differ; the shipped base model was trained on them. Correct it when the world changes anyway.
SHARED_CUE_WORDS = {"travel": ["guide"]}


def words(text: str) -> set[str]:
    """Words without a plural s, so that `plant` and `plants` are the same."""
    return {word[:-1] if word.endswith("s") and len(word) > 3 else word for word in re.findall(r"[a-z]+", text.lower())}


def exact_words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def test_it_is_rich_enough() -> None:
    assert len(TOPICS) >= 24
    assert len(world().preferences) >= 300
    assert set(BACKGROUND_TYPES) <= {topic.name for topic in TOPICS}


def test_every_phrase_means_one_thing() -> None:
    cues = Counter(cue for p in world().preferences for cue in (*p.cues, p.unseen))
    texts = Counter(p.text for p in world().preferences)
    assert [cue for cue, n in cues.items() if n > 1] == []
    assert [text for text, n in texts.items() if n > 1] == []
    assert set(cues) & set(texts) == set()


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_shape_of_a_topic(topic: Topic) -> None:
    assert (len(topic.queries), len(topic.generic), len(topic.preferences)) == (5, 3, 12)
    assert len(set(topic.queries)) == 5
    assert all(query.endswith("?") and query.isascii() for query in topic.queries)
    for p in topic.preferences:
        assert len(p.text.split()) == 2, "no option may stand out by length"
        assert len(p.cues) == 4
        assert set(p.typical_of) <= set(OPPOSITE_TAGS)
        for phrase in (p.text, p.unseen, *p.cues, *topic.generic):
            assert PHRASE.fullmatch(phrase), phrase


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_nothing_gives_a_preference_away_in_words(topic: Topic) -> None:
    for p in topic.preferences:
        for cue in (*p.cues, p.unseen):
            assert not words(cue) & words(p.text), f"{cue!r} shares a word with {p.text!r}"
        for query in topic.queries:
            assert p.text not in query.lower()
            assert not any(re.search(rf"\b{cue}\b", query.lower()) for cue in (*p.cues, p.unseen)), (query, p.text)
        assert not any(p.text in generic for generic in topic.generic)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_preferences_of_a_topic_share_no_word(topic: Topic) -> None:
    texts = Counter(word for p in topic.preferences for word in words(p.text))
    cues = Counter(word for p in topic.preferences for word in set().union(*map(exact_words, p.cues)))
    assert [word for word, n in texts.items() if n > 1] == []
    assert [word for word, n in cues.items() if n > 1] == SHARED_CUE_WORDS.get(topic.name, [])


def test_unseen_words_are_unseen() -> None:
    unseen = Counter(word for p in world().preferences for word in exact_words(p.unseen))
    assert [word for word, n in unseen.items() if n > 1] == []
    seen = set().union(*(exact_words(text) for p in world().preferences for text in (p.text, *p.cues)))
    seen |= set().union(*(exact_words(text) for topic in TOPICS for text in (*topic.queries, *topic.generic)))
    assert {p.unseen for p in world().preferences if exact_words(p.unseen) & seen} == set()


def test_an_unseen_phrase_is_not_spoken_by_any_sentence() -> None:
    frames = [frame for table in (say.REVEALS, say.UPDATES) for frames in table.values() for frame in frames]
    frames += [*say.OTHERS_REVEAL.values(), *say.REPLIES, *(text for pair in say.SMALL_TALK for text in pair)]
    spoken = set().union(*map(exact_words, frames))
    assert {p.unseen for p in world().preferences if exact_words(p.unseen) <= spoken} == set()


def test_every_conversation_type_can_be_spoken() -> None:
    assert set(say.REVEALS) == set(say.UPDATES) == set(say.OTHERS_REVEAL) == set(CONVERSATION_TYPES)
    assert all("{cue}" in frame for frames in say.REVEALS.values() for frame in frames)
    assert all("{cue}" in frame and "{old}" in frame for frames in say.UPDATES.values() for frame in frames)
    assert all("{cue}" in frame and "{other}" in frame for frame in say.OTHERS_REVEAL.values())
