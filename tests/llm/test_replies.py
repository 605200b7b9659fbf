"""Reading a reply: an object wherever it stands, and never a part of one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from personamem_pipeline.llm.replies import Answer, NoCompletion, Unusable, answer_of, read


class Pet(BaseModel):
    name: str
    age: int


class Household(BaseModel):
    name: str
    age: int
    pets: list[Pet]


REX = Pet(name="Rex {the} dog", age=3)


def answer(content: str, finish: str = "stop") -> Answer:
    return Answer(content, "", finish, 1, 1)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "```json\n{}\n```",
        "```\n{}```",
        "Here you are:\n\n{}\n\nAnything else?",
        "The {{braces}} and {{ these }} are prose. {}",
        '<think>maybe {{"name": "Max", "age": 4}}? no.</think>{}',
        '{{"reasoning": "none"}}\n{}',
    ],
)
def test_the_object_is_found(text: str) -> None:
    assert read(answer(text.format(REX.model_dump_json())), Pet) == REX


@given(st.integers(0, 200))
def test_a_part_of_a_broken_object_is_never_taken_for_the_whole(cut: int) -> None:
    whole = Household(name="Ann", age=40, pets=[REX, REX]).model_dump_json()
    text = whole[: min(cut, len(whole) - 1)]
    for finish in ("stop", "length"):
        with pytest.raises(Unusable):
            read(answer(text, finish), Pet)


@pytest.mark.parametrize(
    ("content", "finish", "code"),
    [
        ("", "stop", "empty"),
        (" \n", "stop", "empty"),
        ("I cannot", "stop", "not_json"),
        ('{"name": "Rex"', "stop", "not_json"),
        ('{"name": "Rex"', "length", "truncated"),
        ('draft {"name": "Rex", "age": 3}, but rather {"na', "length", "truncated"),
        ("\n" * 10_000, "length", "truncated"),
        ('{"name": "Rex"}', "stop", "wrong_schema"),
        ("[1, 2]", "stop", "wrong_schema"),
        ('Sure: {"name": "Rex", "age": "old"}', "stop", "wrong_schema"),
        ("{" * 50_000, "stop", "not_json"),
        ('{"a":' * 50_000, "stop", "not_json"),
    ],
)
def test_what_is_wrong_is_named(content: str, finish: str, code: str) -> None:
    with pytest.raises(Unusable) as raised:
        read(answer(content, finish), Pet)
    assert raised.value.args[0] == code


def test_a_whole_object_counts_even_when_the_model_did_not_stop() -> None:
    assert read(answer(REX.model_dump_json() + " " * 1000, "length"), Pet) == REX


@given(st.text(), st.text(max_size=3), st.none() | st.integers(0))
def test_what_the_cache_keeps_comes_back(content: str, finish: str, tokens: int | None) -> None:
    kept = Answer(content, "", finish, tokens, tokens)
    assert Answer.from_json(kept.to_json()) == kept


def test_a_completion_is_read() -> None:
    body = {"choices": [{"finish_reason": "stop", "message": {"content": "x"}}], "usage": {"prompt_tokens": 3}}
    assert answer_of(json.dumps(body).encode()) == Answer("x", "", "stop", 3, None)
    assert answer_of({"choices": [{"message": {"content": None}}]}) == Answer("", "", "", None, None)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b'{"choices": [{"message": "hi"}]}',
     b'{"choices": [{"message": {"content": [1]}}]}', b'{"choices": [{"message": {}}], "usage": {"prompt_tokens": "x"}}'],
)  # fmt: skip
def test_anything_else_is_no_completion(body: bytes) -> None:
    with pytest.raises(NoCompletion):
        answer_of(body)
