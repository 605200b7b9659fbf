"""What is asked and how replies are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.memory.prompts import EMPTY, answer_prompt, boxed, parse_letter, write_prompt
from personamem_pipeline.records import Message

STYLES = ("compact", "full")


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        (r"\boxed{b}", "b"),
        (r"\boxed{(C)}", "c"),
        (r"\boxed{ a. }", "a"),
        (r"first \boxed{a}, no, \boxed{d}", "d"),
        (r"<think>\boxed{a}</think>\boxed{b}", "b"),
        (r"<think>\boxed{a}", None),
        (r"\boxed{e}", None),
        ("b", None),
        ("The answer is (b).", None),
        ("", None),
    ],
)
def test_letters(text: str, letter: str | None) -> None:
    assert parse_letter(text) == letter


def test_what_is_boxed_can_be_read() -> None:
    assert [parse_letter(boxed(letter)) for letter in "abcd"] == list("abcd")


@pytest.mark.parametrize("style", STYLES)
def test_the_chunk_comes_before_the_memory(style: str) -> None:
    prompt = write_prompt(style, [Message(turn_id="t", role="user", content="CHUNK")], "- MEMORY")
    assert prompt.index("CHUNK") < prompt.index("MEMORY")


@pytest.mark.parametrize("style", STYLES)
def test_an_empty_memory_is_said_to_be_empty(style: str) -> None:
    assert EMPTY in write_prompt(style, [], "")
    assert EMPTY in answer_prompt(style, "", "q?", None)


@given(content=st.text(max_size=40), style=st.sampled_from(STYLES))
def test_braces_in_what_users_write_are_text(content: str, style: str) -> None:
    text = f"{{memory}}{content}{{chunk}}"
    assert text in write_prompt(style, [Message(turn_id="t", role="user", content=text)], "- a")
    assert text in answer_prompt(style, text, "q?", {"a": "x"}).replace("Memory:\n" + text.strip(), "Memory:\n" + text)


def test_open_questions_show_no_letters() -> None:
    assert "(a)" not in answer_prompt("compact", "", "q?", None)
    assert "tea (a)" in answer_prompt("compact", "", "q?", {"a": "tea"})
    assert "(a) tea" in answer_prompt("full", "", "q?", {"a": "tea"})
