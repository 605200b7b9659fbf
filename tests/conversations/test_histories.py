"""Histories keep their budget, never at the expense of evidence; padding fills them without touching a session."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personamem_pipeline.conversations.counting import count_gpt4o, count_words, load_counter
from personamem_pipeline.conversations.histories import assemble, assemble_all
from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import HistoriesConfig
from personamem_pipeline.records import History, Message, Session
from tests.conversations.written import written

PERSONAS, SESSIONS = written()


def words(sessions: Sequence[Session]) -> int:
    return sum(count_words([message.content for session in sessions for message in session.messages]))


@given(st.integers(1, 600), st.integers(0, len(PERSONAS) - 1))
@settings(max_examples=60, deadline=None)
def test_evidence_stays_whatever_the_budget(budget: int, which: int) -> None:
    persona = PERSONAS[which]
    own = [session for session in SESSIONS if session.person_id == persona.person_id]
    history = assemble(persona, SESSIONS, HistoriesConfig(tokens=budget))
    assert [s for s in history.sessions if s.evidence] == [s for s in own if s.evidence]
    assert history.tokens == words(history.sessions)
    assert history.gpt4o_tokens == sum(count_gpt4o([message.content for message in history.messages]))
    assert (history.padding_tokens, history.profile) == (0, "")
    if history.tokens > budget:
        assert all(session.evidence for session in history.sessions), "filler goes before the budget is broken"
    for session in set(own) - set(history.sessions):
        assert history.tokens + words([session]) > budget, "nothing that fits is dropped"
    assert [session.time for session in history.sessions] == sorted(session.time for session in history.sessions)


@given(st.integers(1, 300), st.integers(300, 9000), st.integers(0, len(PERSONAS) - 1))
@settings(max_examples=40, deadline=None)
def test_padding_stands_between_sessions_and_never_goes_beyond(budget: int, target: int, which: int) -> None:
    persona = PERSONAS[which]
    plain = assemble(persona, SESSIONS, HistoriesConfig(tokens=budget))
    padded = assemble(persona, SESSIONS, HistoriesConfig(tokens=budget, pad_to=target))
    extra = [session for session in padded.sessions if session.event == "padding"]
    assert [session for session in padded.sessions if session.event != "padding"] == list(plain.sessions)
    assert padded.tokens == words(padded.sessions) <= max(target, plain.tokens)
    assert padded.padding_tokens == words(extra) == padded.tokens - plain.tokens
    assert padded.gpt4o_tokens == sum(count_gpt4o([message.content for message in padded.messages]))
    assert all((s.preference, s.evidence, s.author) == (None, (), "padding/builtin") for s in extra)
    times = [session.time for session in padded.sessions]
    assert times == sorted(set(times))
    turns = [message.turn_id for message in padded.messages]
    assert len(set(turns)) == len(turns)
    assert len({session.messages[0].content for session in extra}) == len(extra)
    runs = [0]
    for session in padded.sessions:
        if session.event == "padding":
            runs[-1] += 1
        else:
            runs.append(0)
    assert max(runs) - min(runs) <= 1, "spread evenly"


def test_128k_is_reached_within_two_percent() -> None:
    config = HistoriesConfig(tokens=32_000, tokenizer="gpt-4o", pad_to=128_000)
    first, second = assemble_all(PERSONAS[:2], [s for s in SESSIONS if s.person_id in ids(2)], config)
    for history in (first, second):
        assert 0.98 * 128_000 < history.tokens <= 128_000
        assert history.gpt4o_tokens == history.tokens
        assert history.padding_tokens > 0.9 * history.tokens
        padding = [s.messages[0].content for s in history.sessions if s.event == "padding"]
        assert len(set(padding)) == len(padding) > 300
    assert assemble(PERSONAS[1], SESSIONS, config).model_dump_json() == second.model_dump_json()


def ids(count: int) -> list[str]:
    return [persona.person_id for persona in PERSONAS[:count]]


def test_a_person_of_few_words_can_be_padded_too() -> None:
    history = assemble(PERSONAS[0], [], HistoriesConfig(tokens=100, pad_to=2000))
    assert 1800 < history.tokens <= 2000
    assert {session.event for session in history.sessions} == {"padding"}


def test_the_order_in_which_sessions_come_does_not_matter() -> None:
    config = HistoriesConfig(tokens=150, pad_to=3000)
    shuffled = random.Random(1).sample(SESSIONS, len(SESSIONS))
    made = assemble_all(PERSONAS, shuffled, config)
    assert made == assemble_all(PERSONAS, SESSIONS, config)
    assert made[:3] == [assemble(persona, shuffled, config) for persona in PERSONAS[:3]]


def test_both_counts_stand_side_by_side() -> None:
    history = assemble(PERSONAS[0], SESSIONS, HistoriesConfig(tokens=600, tokenizer="models/tiny-base"))
    contents = [message.content for message in history.messages]
    assert history.tokens == sum(load_counter("models/tiny-base")(contents))
    assert history.gpt4o_tokens == sum(count_gpt4o(contents)) != history.tokens


def test_the_profile_only_where_it_is_asked_for_and_never_a_preference() -> None:
    for persona in PERSONAS:
        without = assemble(persona, SESSIONS, HistoriesConfig(tokens=600))
        history = assemble(persona, SESSIONS, HistoriesConfig(tokens=600, profile_message=True))
        assert without.profile == ""
        assert history.messages[0] == Message(
            turn_id=f"{persona.person_id}.profile", role="system", content=history.profile
        )
        assert persona.name in history.profile
        assert all(value in history.profile for value in persona.profile.values())
        assert not any(preference.text in history.profile for preference in persona.preferences)
        assert history.tokens == sum(count_words([message.content for message in history.messages]))


def moved(session: Session, time: str) -> Session:
    return session.model_copy(update={"time": time})


def test_an_impossible_order_is_refused() -> None:
    config = HistoriesConfig(tokens=1000)
    swaps = 0
    for persona in PERSONAS:
        own = [session for session in SESSIONS if session.person_id == persona.person_id]
        for later in own:
            if later.event not in ("updates", "forgets") or later.preference is None:
                continue
            about = later.preference.replaces if later.event == "updates" else later.preference.preference_id
            first = next(s for s in own if s.event in ("reveals", "updates") and s.preference_id == about)
            others = [session for session in own if session not in (first, later)]
            with pytest.raises(UserError, match=f"{later.session_id} ") as caught:
                assemble(persona, [*others, moved(first, later.time), moved(later, first.time)], config)
            assert caught.value.where == first.session_id
            swaps += 1
        with pytest.raises(UserError, match="is at"):
            assemble(persona, [own[0], *own[2:], moved(own[1], own[0].time)], config)
    assert swaps > 10


def test_sessions_of_nobody_are_refused() -> None:
    with pytest.raises(UserError, match="not among the persons"):
        assemble_all(PERSONAS[:1], SESSIONS, HistoriesConfig(tokens=100))
    assert isinstance(assemble_all([], [], HistoriesConfig(tokens=1)), list)
    assert isinstance(assemble(PERSONAS[0], [], HistoriesConfig(tokens=1)), History)
