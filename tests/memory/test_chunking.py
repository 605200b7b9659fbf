"""Chunks are the history, whole messages, within budget."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.memory.chunking import chunk_messages, render_messages
from personamem_pipeline.records import Message


def words(text: str) -> int:
    return len(text.split())


messages = st.lists(
    st.builds(
        Message,
        turn_id=st.just("t"),
        role=st.sampled_from(["user", "assistant"]),
        content=st.text(alphabet="ab ", min_size=1, max_size=60),
    ),
    max_size=12,
)


@given(messages=messages, budget=st.integers(1, 40), count=st.sampled_from([words, len]))
def test_concatenated_chunks_are_the_messages_and_fit(
    messages: list[Message], budget: int, count: Callable[[str], int]
) -> None:
    chunks = chunk_messages(messages, budget, count)
    assert [message for chunk in chunks for message in chunk] == messages
    for chunk in chunks:
        assert len(chunk) == 1 or count(render_messages(chunk)) <= budget
    assert all(chunks), "no chunk is empty"


@given(messages=messages, budget=st.integers(1, 40), more=messages)
def test_what_comes_later_moves_no_chunk_before_it(messages: list[Message], budget: int, more: list[Message]) -> None:
    """A chat that goes on is read as before up to its last chunk: memories up to there stay valid."""
    chunks = chunk_messages(messages, budget, words)
    assert chunk_messages([*messages, *more], budget, words)[: max(0, len(chunks) - 1)] == chunks[:-1]


@given(messages=messages, budget=st.integers(1, 40))
def test_no_chunk_could_have_taken_the_next_message(messages: list[Message], budget: int) -> None:
    chunks = chunk_messages(messages, budget, words)
    for chunk, following in pairwise(chunks):
        sizes = [words(render_messages([message])) + 1 for message in (*chunk, following[0])]
        assert sum(sizes) > budget


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="budget"):
        chunk_messages([], 0, words)
