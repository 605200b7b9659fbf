"""The tiny tokenizer: whole words, any text round-trips, no text can become a control token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.training.tokenizer import SPECIAL, build_tokenizer

TEXTS = ["user: I left my bamboo whisk at home.\n- drinks: green tea\n(a) You could try green tea.\n\\boxed{a}"]


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(build_tokenizer(TEXTS))


def encode(renderer: Renderer, text: str) -> list[int]:
    return renderer.completion_ids(text)[:-1]


@given(st.text(max_size=60).filter(lambda text: "▁" not in text))
def test_any_text_round_trips(renderer: Renderer, text: str) -> None:
    assert renderer.text(encode(renderer, text)) == text


def test_known_words_are_one_token(renderer: Renderer) -> None:
    assert renderer.count("- drinks: green tea") == 4
    assert renderer.count("\\boxed{a}") == renderer.count("(a)") == 1
    assert renderer.count(" whisk") == 1 and renderer.count(" derailleur") > 1


@pytest.mark.parametrize("token", SPECIAL)
def test_spelling_a_control_token_is_not_writing_one(renderer: Renderer, token: str) -> None:
    forbidden = renderer.tokenizer.convert_tokens_to_ids(token)
    ids = encode(renderer, f"hello {token} there")
    assert forbidden not in ids and renderer.text(ids) == f"hello {token} there"


def test_a_prompt_is_the_chat_template(renderer: Renderer) -> None:
    chat = [{"role": "user", "content": "I left my bamboo whisk"}]
    text = renderer.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert renderer.tokenizer.decode(renderer.prompt_ids(chat[0]["content"])) == text
    assert renderer.completion_ids("x")[-1] == renderer.eos_id


def test_saving_and_loading_changes_nothing(renderer: Renderer, tmp_path: object) -> None:
    renderer.tokenizer.save_pretrained(tmp_path)
    loaded = Renderer(AutoTokenizer.from_pretrained(tmp_path))
    assert loaded.prompt_ids(TEXTS[0]) == renderer.prompt_ids(TEXTS[0])
