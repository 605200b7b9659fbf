"""Labels agree with the ideal memories that SFT teaches, and what a memory holds is told strictly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.memory.prompts import EMPTY
from personamem_pipeline.records import Event, History, Message, Preference, Session
from personamem_pipeline.training.labels import (
    ChunkLabels,
    chunk_labels,
    forbidden_share,
    holds,
    retained,
    retention,
)
from personamem_pipeline.training.targets import ideal_memories, memory_line
from tests.rooms import rooms

TOPICS = ("drinks", "music", "tea")
TEXTS = ("green tea", "tea", "loud jazz", "jazz", "drinks")
"""Words that stand in one another, and in the topics: where strict reading has its corners."""


def session(number: int, event: Event, topic: str, text: str, turns: int = 1, **changes: str) -> Session:
    preference = Preference.model_validate(
        {"preference_id": f"p{number}", "topic": topic, "text": text, "pref_type": "neutral_preferences", **changes}
    )
    messages = tuple(Message(turn_id=f"s{number}.m{i}", role="user", content="x") for i in range(turns))
    return Session(
        session_id=f"s{number}", person_id="t0", time=f"2025-01-{number + 1:02}T08:00", event=event,
        conversation_type="chat_message", preference=preference, wording="seen", messages=messages,
        evidence=tuple(message.turn_id for message in messages), author="test",
    )  # fmt: skip


def history(*sessions: Session) -> History:
    return History(person_id="t0", split="training", sessions=sessions, tokens=1, tokenizer="test")


def labels_of(*sessions: Session) -> list[ChunkLabels]:
    """The labels when every turn is a chunk of its own."""
    own = history(*sessions)
    return chunk_labels(own, [(message,) for message in own.messages])


def test_a_life_in_labels() -> None:
    """Revealed, updated, asked to be forgotten, said anew."""
    said = [
        session(0, "reveals", "drinks", "green tea"),
        session(1, "updates", "drinks", "sweet wine"),
        session(2, "reveals", "music", "loud jazz"),
        session(3, "forgets", "drinks", "sweet wine"),
        session(4, "reveals", "drinks", "sweet wine"),
    ]
    found = labels_of(*said)
    assert [own.live for own in found] == [
        ("green tea",),
        ("sweet wine",),
        ("loud jazz", "sweet wine"),
        ("loud jazz",),
        ("sweet wine", "loud jazz"),
    ]
    assert [sorted(own.news) for own in found] == [["green tea"], ["sweet wine"], ["loud jazz"], [], ["sweet wine"]]
    assert [own.forbidden for own in found] == [(), (), (), ("sweet wine",), ()]


def test_half_the_evidence_is_none() -> None:
    first, second = labels_of(session(0, "reveals", "drinks", "green tea", turns=2))
    assert first == ChunkLabels((), frozenset(), ())
    assert second.live == ("green tea",)


@pytest.mark.parametrize("event", ["reveals", "forgets"])
@pytest.mark.parametrize("changes", [{"who": "others"}, {"pref_type": "sensitive_info"}])
def test_what_is_not_the_users_to_note_is_in_no_label(event: Event, changes: dict[str, str]) -> None:
    assert labels_of(session(0, event, "drinks", "green tea", **changes)) == [ChunkLabels((), frozenset(), ())]


def check_against_ideal(own: History, size: int) -> None:
    chunks = [own.messages[start : start + size] for start in range(0, len(own.messages), size)]
    memories, labels = ideal_memories(own, chunks), chunk_labels(own, chunks)
    assert len(memories) == len(labels) == len(chunks)
    before = ""
    for memory, label in zip(memories, labels, strict=True):
        lines = [line for line in memory.splitlines() if line != EMPTY]
        assert tuple(dict.fromkeys(line.partition(": ")[2] for line in lines)) == label.live
        assert label.news <= set(label.live)
        assert retained(memory, label) in (1.0, None)
        assert retention(before, memory, label) in (1.0, None)
        assert forbidden_share(memory, label) in (0.0, None)
        assert not set(label.live) & set(label.forbidden)
        before = memory


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_an_ideal_memory_holds_all_that_is_live_and_nothing_else(size: int) -> None:
    for own in rooms().histories:
        check_against_ideal(own, size)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["reveals", "updates", "forgets"]), st.sampled_from(TOPICS), st.sampled_from(TEXTS),
        st.integers(1, 3), st.sampled_from(["self", "self", "self", "others"]),
    ),
    max_size=8,
)  # fmt: skip


@given(said=EVENTS, size=st.integers(1, 5))
def test_labels_and_ideal_memories_agree_on_any_life(said: list[tuple[Event, str, str, int, str]], size: int) -> None:
    sessions = [
        session(number, event, topic, text, turns, who=who)
        for number, (event, topic, text, turns, who) in enumerate(said)
    ]
    check_against_ideal(history(*sessions), size)


@pytest.mark.parametrize(
    ("memory", "held"),
    [
        ("- drinks: green tea", True),
        ("Likes Green  Tea, a lot.", True),
        ("- music: jazz\n- drinks: green tea", True),
        ("- garden: green\ntea: black", False),
        ("- drinks: green teapots", False),
        ("- drinks: tea, green", True),  # in words of its own
        ("- drinks: black tea", False),  # half of a short label
        ("", False),
    ],
)
def test_holding_is_most_of_the_labelled_words_in_one_line(memory: str, held: bool) -> None:
    assert holds(memory, "green tea") is held


def test_a_turn_is_not_told_off_for_what_was_lost_before() -> None:
    labels = ChunkLabels(("jazz", "green tea", "old books"), frozenset({"jazz"}), ())
    everything = "- a: jazz\n- b: green tea\n- c: old books"
    assert retention("", "- a: jazz", labels) == 1.0
    assert retained("- a: jazz", labels) == pytest.approx(1 / 3)
    assert retention("- b: green tea", "- a: jazz", labels) == 0.5
    assert retention("- b: green tea", everything, labels) == 1.0
    assert retention(everything, "", labels) == 0.0


def test_nothing_to_have_is_no_share() -> None:
    quiet = ChunkLabels(("jazz",), frozenset(), ())
    assert retention("", "", quiet) is None and retained("", quiet) == 0.0
    assert retained("- a: jazz", ChunkLabels((), frozenset(), ())) is None
    assert forbidden_share("- a: jazz", quiet) is None


@given(
    before=st.sets(st.sampled_from(TEXTS)), after=st.sets(st.sampled_from(TEXTS)), live=st.sets(st.sampled_from(TEXTS)),
    news=st.sets(st.sampled_from(TEXTS)), forbidden=st.sets(st.sampled_from(TEXTS)),
)  # fmt: skip
def test_shares_are_shares_and_more_memory_holds_no_less(
    before: set[str], after: set[str], live: set[str], news: set[str], forbidden: set[str]
) -> None:
    labels = ChunkLabels(tuple(sorted(live)), frozenset(news & live), tuple(sorted(forbidden)))
    old, new = ("\n".join(memory_line("x", text) for text in sorted(texts)) for texts in (before, after))
    for share, of in (
        (retained(new, labels), bool(live)),
        (retention(old, new, labels), bool(news & live) or any(holds(old, text) for text in live)),
        (forbidden_share(new, labels), bool(forbidden)),
    ):
        assert (share is not None) is of
        assert share is None or 0 <= share <= 1
    if live:
        assert (retained(f"{new}\n{old}", labels) or 0.0) >= (retained(new, labels) or 0.0)
