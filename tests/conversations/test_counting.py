"""Counting many texts gives each text the count it has alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personamem_pipeline.conversations.counting import BATCH, count_words, load_counter
from personamem_pipeline.errors import UserError
from personamem_pipeline.settings import PROJECT


def test_words_and_punctuation_marks() -> None:
    assert load_counter("words") is count_words
    assert count_words(["Mind my tea tin, please!", ""]) == [7, 0]


def test_gpt4o_counts_contents_only_and_offline() -> None:
    # o200k_base: "hello" and " world" are tokens; a special token's name is ordinary text.
    assert load_counter("gpt-4o")(["hello world", "", "<|endoftext|>"]) == [2, 0, 7]


def test_a_missing_tokenizer_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`gpt-4o`") as caught:
        load_counter(str(tmp_path))
    assert caught.value.where == str(tmp_path / "tokenizer.json")


def test_a_directory_counts_its_own_tokens_without_padding_or_truncation(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {"[UNK]": 0, "mind": 1, "my": 2, "[CLS]": 3}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", 3)]
    )
    tokenizer.enable_padding(length=9)
    tokenizer.enable_truncation(2)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert load_counter(str(tmp_path))(["mind my own business", "mind", ""]) == [4, 1, 0]


COUNTERS = [load_counter(name) for name in ("words", "gpt-4o", "models/tiny-base")]


@given(st.lists(st.text(max_size=30), max_size=8))
@settings(max_examples=40, deadline=None)
def test_neighbours_do_not_matter(texts: list[str]) -> None:
    for count in COUNTERS:
        assert count(texts) == [count([text])[0] for text in texts]


def test_more_than_one_batch() -> None:
    assert (PROJECT / "models/tiny-base/tokenizer.json").is_file()
    count = load_counter("models/tiny-base")
    assert count(["my"] * BATCH + ["my own"]) == count(["my"]) * BATCH + count(["my own"])
