"""Comparing texts by their words."""

from __future__ import annotations

import pytest

from personamem_pipeline.personas.texts import mentions, similarity


@pytest.mark.parametrize(
    ("text", "phrase", "found"),
    [
        ("Loves Green-Tea, and rain.", "green tea", True),
        ("An evergreen team", "green tea", False),
        ("green and black tea", "green tea", False),
        ("tea", "TEA", True),
        ("anything", "", False),
        ("any - thing", " - ", False),
    ],
)
def test_a_phrase_is_found_by_its_words(text: str, phrase: str, found: bool) -> None:
    assert mentions(text, phrase) is found


def test_similarity_is_jaccard_of_words() -> None:
    assert similarity("old big cats", "Big, old dogs") == pytest.approx(0.5)
    assert similarity("green tea", "Tea (green)") == 1
    assert similarity("-", "...") == 0
