"""Histories keep their budget, and never at the expense of evidence."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personamem_pipeline.conversations.histories import assemble, count_words, load_counter
from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import HistoriesConfig
from tests.rooms import rooms


@given(st.integers(1, 600), st.integers(0, 19))
@settings(max_examples=60, deadline=None)
def test_evidence_stays_whatever_the_budget(budget: int, which: int) -> None:
    personas = rooms().personas
    persona = personas[which % len(personas)]
    own = [session for session in rooms().sessions if session.person_id == persona.person_id]
    history = assemble(persona, rooms().sessions, HistoriesConfig(tokens=budget), count_words)
    assert [s for s in history.sessions if s.evidence] == [s for s in own if s.evidence]
    assert history.tokens == sum(count_words(message.content) for message in history.messages)
    if history.tokens > budget:
        assert all(session.evidence for session in history.sessions), "filler goes before the budget is broken"
    for session in set(own) - set(history.sessions):
        size = sum(count_words(message.content) for message in session.messages)
        assert history.tokens + size > budget, "nothing that fits is dropped"
    assert [session.time for session in history.sessions] == sorted(session.time for session in history.sessions)


def test_the_order_in_which_sessions_come_does_not_matter() -> None:
    persona = rooms().personas[0]
    config = HistoriesConfig(tokens=150)
    shuffled = random.Random(1).sample(rooms().sessions, len(rooms().sessions))
    assert assemble(persona, shuffled, config, count_words) == assemble(persona, rooms().sessions, config, count_words)


def test_counters(tmp_path: Path) -> None:
    assert load_counter("words") is count_words
    assert count_words("Mind my tea tin, please!") == 7
    with pytest.raises(UserError, match="no tokenizer"):
        load_counter(str(tmp_path))


def test_a_tokenizer_directory_counts_its_own_tokens(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {"[UNK]": 0, "mind": 1, "my": 2}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert load_counter(str(tmp_path))("mind my own business") == 4
