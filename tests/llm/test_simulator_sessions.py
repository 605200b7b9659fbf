"""Long drafts carry exactly what the short sentence in them carries, and no two of them are alike."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from personamem_pipeline.conversations.counting import count_gpt4o
from personamem_pipeline.conversations.plan import SENSITIVE_TYPES
from personamem_pipeline.llm.simulator import filler, filler_drafts, filler_follow_ups, filler_replies, reader, sessions
from personamem_pipeline.llm.simulator.world import WorldPreference, world
from personamem_pipeline.records import CONVERSATION_TYPES

PREFERENCES = world().preferences
TABLES = {
    name: table
    for module in (filler_drafts, filler_replies, filler_follow_ups)
    for name, table in vars(module).items()
    if name.isupper()
}
PHRASES = {*world().cues(), *(preference.text for preference in PREFERENCES)}
LONGEST = max(len(phrase.split()) for phrase in PHRASES)


def brief(preference: WorldPreference, event: str = "reveals", **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "event": event, "conversation_type": "chat_message", "pref_type": "neutral_preferences",
        "topic": preference.topic, "preference": preference.text, "previous": "", "who": "self", "wording": "seen",
        "edition": "training", "length": "long",
    }  # fmt: skip
    return values | changes


def talk(given: dict[str, Any], draw: random.Random) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = sessions.session(given, draw)["messages"]
    return messages


def phrases_in(text: str) -> list[str]:
    words = re.findall(r"[a-z]+", text.lower())
    runs = (" ".join(words[i : i + n]) for n in range(1, LONGEST + 1) for i in range(len(words) - n + 1))
    return [run for run in runs if run in PHRASES]


def fillings(template: str) -> Iterator[str]:
    """Every value in every slot once: all words that can stand beside each other do, as no two slots do."""
    assert not re.search(r"\}\W*\{", template), "two slots side by side would need every pair of values"
    slots = re.findall(r"\{(\w+)\}", template)
    for shift in range(max(len(filler.SLOTS[slot]) for slot in slots)):
        values = iter([filler.SLOTS[slot][shift % len(filler.SLOTS[slot])] for slot in slots])
        yield re.sub(r"\{\w+\}", lambda _, values=values: next(values), template)


@pytest.mark.parametrize("name", TABLES)
def test_filler_names_no_cue_and_no_preference(name: str) -> None:
    for template in TABLES[name]:
        for text in fillings(template):
            assert phrases_in(text) == [], text
            assert reader.named_preferences(text) == [], text
            assert reader.known_preferences([{"role": "user", "content": text}]) == {}
    assert len(set(TABLES[name])) == len(TABLES[name])


def test_neutral_things_say_nothing_in_any_sentence() -> None:
    draw = random.Random(0)
    for kind, edition in itertools.product(CONVERSATION_TYPES, ("training", "benchmark")):
        for _ in range(30):
            given = brief(PREFERENCES[0], "small_talk", conversation_type=kind, edition=edition, pref_type="")
            messages = talk(given | {"topic": "", "preference": ""}, draw)
            assert reader.known_preferences(messages) == {}
            assert not any(message["evidence"] for message in messages)
            assert len(messages[0]["content"]) > 400


@pytest.mark.parametrize("kind", CONVERSATION_TYPES)
@pytest.mark.parametrize("edition", ["training", "benchmark"])
def test_the_evidence_alone_gives_the_preference_away(kind: str, edition: str) -> None:
    draw = random.Random(0)
    for preference in draw.sample(PREFERENCES, 40):
        wording = "unseen" if edition == "benchmark" and draw.random() < 0.5 else "seen"
        given = brief(preference, conversation_type=kind, edition=edition, wording=wording, exchanges=2)
        messages = talk(given, draw)
        evidence = [message for message in messages if message["evidence"]]
        assert reader.known_preferences(evidence) == {preference.topic: preference.text}, evidence
        rest = [message for message in messages if not message["evidence"]]
        assert reader.known_preferences(rest) == {}
        assert reader.named_preferences(" ".join(message["content"] for message in messages)) == []


@pytest.mark.parametrize("kind", CONVERSATION_TYPES)
def test_others_and_changes_are_read_out_of_whole_drafts(kind: str) -> None:
    draw = random.Random(0)
    for preference in draw.sample(PREFERENCES, 30):
        theirs = talk(brief(preference, conversation_type=kind, who="others"), draw)
        assert any(cue in theirs[0]["content"] for cue in preference.cues)
        assert reader.known_preferences(theirs) == {}
        old = draw.choice([p for p in world().topic(preference.topic).preferences if p != preference])
        changed = talk(brief(preference, "updates", conversation_type=kind, previous=old.text), draw)
        assert reader.known_preferences(changed) == {preference.topic: preference.text}
        assert any(cue in changed[0]["content"] for cue in old.cues), "the old one is said to be gone"


def test_a_long_request_to_forget_is_understood() -> None:
    draw = random.Random(0)
    preference = PREFERENCES[7]
    revealed, forgotten = talk(brief(preference), draw), talk(brief(preference, "forgets"), draw)
    assert reader.known_preferences(revealed) == {preference.topic: preference.text}
    assert reader.known_preferences(revealed + forgotten) == {}
    assert [message["evidence"] for message in forgotten] == [False, False, True, False]
    assert all(len(message["content"]) > 200 for message in forgotten)


@pytest.mark.parametrize("length", ["short", "long"])
@pytest.mark.parametrize("kind", SENSITIVE_TYPES)
def test_a_private_value_is_planted_in_every_type_that_may_carry_one(kind: str, length: str) -> None:
    given = brief(PREFERENCES[0], conversation_type=kind, pref_type="sensitive_info", length=length)
    messages = talk(given | {"topic": "door code", "preference": "K11-222"}, random.Random(0))
    assert [message["content"].count("my door code is K11-222") for message in messages] == [1, 0]
    assert [message["evidence"] for message in messages] == [True, False]


@pytest.mark.parametrize("length", ["short", "long"])
@pytest.mark.parametrize("edition", ["training", "benchmark"])
def test_a_query_that_comes_back_is_another_question_each_time(edition: str, length: str) -> None:
    draw = random.Random(0)
    for preference in draw.sample(PREFERENCES, 30):
        for wording in ("seen", "unseen") if edition == "benchmark" else ("seen",):
            frames = set()
            for aspect, choices in sessions.ASKED_AGAIN.items():
                given = brief(
                    preference, conversation_type="knowledge_query", edition=edition, wording=wording,
                    aspect=aspect, repeat=1, length=length,
                )  # fmt: skip
                messages = talk(given, draw)
                assert reader.known_preferences(messages) == {preference.topic: preference.text}
                said = messages[0]["content"]
                frames |= {frame for frame in choices if frame.partition("{cue}")[0] in said}
            assert len(frames) == len(sessions.ASKED_AGAIN)


@pytest.mark.parametrize("length", ["short", "long"])
@pytest.mark.parametrize("event", ["reveals", "small_talk"])
@pytest.mark.parametrize("exchanges", [2, 3])
def test_a_talk_goes_on_for_as_long_as_asked(exchanges: int, event: str, length: str) -> None:
    draw = random.Random(0)
    for _ in range(20):
        messages = talk(brief(PREFERENCES[3], event, exchanges=exchanges, length=length), draw)
        assert [message["role"] for message in messages] == ["user", "assistant"] * exchanges
        assert sum(message["evidence"] for message in messages) == (event == "reveals")
        asked = [message["content"] for message in messages[::2]]
        assert len(set(asked)) == len(asked)


def many(edition: str, count: int) -> list[dict[str, Any]]:
    draw = random.Random(edition)
    events = ("reveals", "reveals", "small_talk", "forgets")
    made: list[dict[str, Any]] = []
    for number in range(count):
        given = brief(
            draw.choice(PREFERENCES), events[number % 4], conversation_type=draw.choice(CONVERSATION_TYPES),
            edition=edition, exchanges=draw.choice((1, 1, 2, 3)),
        )  # fmt: skip
        made += [message | {"session": number} for message in talk(given, draw)]
    return made


def shingles(text: str) -> frozenset[str]:
    words = text.lower().split()
    return frozenset(" ".join(words[i : i + 5]) for i in range(len(words) - 4))


def test_no_two_sessions_are_near_duplicates() -> None:
    made = [message | {"of": edition} for edition in ("training", "benchmark") for message in many(edition, 70)]
    sets = [shingles(message["content"]) for message in made]
    for (one, first), (other, second) in itertools.combinations(zip(made, sets, strict=True), 2):
        if (one["of"], one["session"]) != (other["of"], other["session"]):
            shared = len(first & second)
            assert shared < 0.5 * (len(first) + len(second) - shared), (one["content"], other["content"])


def test_the_editions_share_no_long_sentence() -> None:
    sentences = {}
    for edition in ("training", "benchmark"):
        texts = [message["content"] for message in many(edition, 400)]
        found = {part.strip() for text in texts for part in re.split(r"(?<=[.?!])\s+", text)}
        known = (*reader.say.REPLIES, reader.say.FORGET_REPLY)  # the short answers that begin a long one
        sentences[edition] = {part for part in found if len(part.split()) > 6 and part not in known}
    # What names a preference or asks about its topic is not filler: a forgotten one is asked about in both editions.
    both = {part for part in sentences["training"] & sentences["benchmark"] if not phrases_in(part)}
    queries = {query for topic in world().topics for query in topic.queries}
    assert both - queries == set()
    assert all(filler.half_filled(table, "benchmark") for table in TABLES.values())


def test_messages_are_as_long_as_the_released_ones() -> None:
    made = many("training", 200)
    lengths = count_gpt4o([message["content"] for message in made])
    assert 120 < sum(lengths) / len(lengths) < 200  # 137 in PersonaMem-v2
    per_session = [sum(count_gpt4o([m["content"] for m in made if m["session"] == n])) for n in range(200)]
    assert 450 < sum(per_session) / 200 < 700
    assert max(lengths) < 330
    assert min(lengths) > 50


def test_a_sentence_without_a_slot_is_refused() -> None:
    with pytest.raises(ValueError, match="both editions"):
        filler.half_filled(("It is late.",), "training")
