"""What is asked and how replies are read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.memory.chunking import render_messages
from personamem_pipeline.memory.prompts import (
    EMPTY,
    answer_prompt,
    boxed,
    chat_prompt,
    open_answer,
    parse_choice,
    parse_letter,
    write_prompt,
)
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.records import Message

STYLES = ("compact", "full")
ORDERS = ("chunk_first", "memory_first")


def config(style: str, order: str = "chunk_first", **more: Any) -> MemoryConfig:
    budgets = {"chunk_tokens": 9, "max_chunks": 9, "memory_tokens": 9, "answer_tokens": 9}
    return MemoryConfig.model_validate({"prompts": style, "order": order, **budgets, **more})


def said(*contents: str) -> list[Message]:
    return [Message(turn_id=f"t{i}", role="user", content=text) for i, text in enumerate(contents)]


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
def test_the_order_is_the_presets(style: str) -> None:
    first, second = (write_prompt(config(style, order), said("CHUNK"), "- MEMORY") for order in ORDERS)
    assert first.index("CHUNK") < first.index("MEMORY")
    assert second.index("MEMORY") < second.index("CHUNK")


@pytest.mark.parametrize("style", STYLES)
def test_chunk_first_shares_its_prefix_among_all_memories(style: str) -> None:
    """What prefix caching lives on: two rollouts of a history differ only after the chunk."""
    one, other = (write_prompt(config(style), said("CHUNK"), memory) for memory in ("- a", "- b\n- c"))
    shared = next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    assert shared > one.index("CHUNK") + len("CHUNK")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("order", ORDERS)
def test_both_orders_say_the_same_things(style: str, order: str) -> None:
    prompt = write_prompt(config(style, order), said("one", "two"), " - MEMORY\n")
    assert prompt.count("user: one\nuser: two") == prompt.count("\n- MEMORY\n") == 1


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("order", ORDERS)
def test_an_empty_memory_is_said_to_be_empty(style: str, order: str) -> None:
    assert f"\n{EMPTY}\n" in write_prompt(config(style, order), [], "")
    assert f"\n{EMPTY}\n" in answer_prompt(config(style, order), "", "q?", None)
    assert f"\n{EMPTY}\n" in chat_prompt(config(style, order), [], "q?", None)


@given(
    content=st.text(max_size=40), style=st.sampled_from(STYLES), order=st.sampled_from(ORDERS), memory=st.just("{task}")
)
def test_braces_in_what_users_write_are_text(content: str, style: str, order: str, memory: str) -> None:
    text = f"{{memory}}{content}{{chunk}}"
    own = config(style, order)
    assert text in write_prompt(own, said(text), memory) and memory in write_prompt(own, said(text), memory)
    assert text in answer_prompt(own, text, "q?", {"a": "x"})
    assert text in chat_prompt(own, said(text), "q?", {"a": "x"})
    assert text in chat_prompt(own, said("{query}"), text, {"a": "{chat}"})


def test_open_questions_show_no_letters() -> None:
    assert "(a)" not in answer_prompt(config("compact"), "", "q?", None)
    assert "tea (a)" in answer_prompt(config("compact"), "", "q?", {"a": "tea"})
    assert "(a) tea" in answer_prompt(config("full"), "", "q?", {"a": "tea"})


def test_only_with_reasoning_is_thinking_offered() -> None:
    for reasoning in (False, True):
        own = config("full", reasoning=reasoning)
        for prompt in (write_prompt(own, [], ""), answer_prompt(own, "", "q?", None), chat_prompt(own, [], "q?", None)):
            assert ("<think>" in prompt) == reasoning


@pytest.mark.parametrize("style", STYLES)
def test_the_baseline_is_asked_as_the_agent_is_but_of_the_chat(style: str) -> None:
    chat, options = said("I like tea", "and maps"), {"a": "tea", "b": "wine"}
    prompt = chat_prompt(config(style), chat, "What today?", options)
    assert prompt.count(render_messages(chat)) == 1
    of_memory = answer_prompt(config(style), "", "What today?", options)
    asked = "What today?" + prompt.partition("What today?")[2]
    assert asked.replace("chat", "memory") == "What today?" + of_memory.partition("What today?")[2]


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("- drinks: green tea\n\\boxed{b}", "b"),
        ("green tea", "a"),
        ("Try green tea", "a"),
        ("- drinks: wine", "b"),
        ("<think>wine</think>green tea", "a"),
        ("green tea\nwine or so", None),
        ("Try", None),
        ("a", None),
        ("", None),
    ],
)
def test_a_choice_is_a_boxed_letter_or_the_options_very_words(text: str, choice: str | None) -> None:
    assert parse_choice(text, {"a": "Try green tea", "b": "Try wine"}) == choice


def test_an_open_answer_is_what_follows_the_quoted_line() -> None:
    assert open_answer("<think>hm</think>- drinks: tea\nHave a tea.\nOr two.") == "Have a tea.\nOr two."
    assert open_answer("- drinks: tea") == open_answer("") == ""
