"""Near-verbatim texts are found, all of them, and nothing else is."""

from __future__ import annotations

from random import Random

import pytest

from personamem_pipeline.questions.facts import Text
from personamem_pipeline.questions.near_duplicates import (
    LEAST_SHINGLES,
    NearDuplicates,
    banding,
    jaccard,
    shingles,
)

THRESHOLD = 0.8


def text(draw: Random, words: int) -> list[str]:
    return [f"word{draw.randrange(3000)}" for _ in range(words)]


def found(benchmark: dict[str, str], training: dict[str, str], threshold: float = THRESHOLD) -> list[str]:
    near = NearDuplicates(threshold)
    near.add(Text(*pair) for pair in benchmark.items())
    near.look_up(Text(*pair) for pair in training.items())
    finding = near.finding()
    assert finding.passed == (finding.facts["near_duplicates"] == 0)
    return [line.partition(":")[0] for line in finding.facts["nearest"]]


def test_one_word_in_a_hundred_and_case_and_punctuation_hide_nothing() -> None:
    words = text(Random(0), 100)
    changed = " ".join([*words[:50], "CHANGED,", *words[51:]]).upper()
    assert found({"b": " ".join(words)}, {"t": changed}) == ["t ~ b (0.94)"]


def test_a_different_text_is_none() -> None:
    draw = Random(1)
    benchmark = {f"b{n}": " ".join(text(draw, 60)) for n in range(50)}
    assert found(benchmark, {f"t{n}": " ".join(text(draw, 60)) for n in range(50)}) == []


def test_all_true_pairs_are_found_and_verified_ones_only() -> None:
    draw = Random(2)
    benchmark, training, true = {}, {}, set()
    for number in range(200):
        words = text(draw, 80)
        edited = words.copy()
        for place in draw.sample(range(80), number % 8):
            edited[place] = "edited"
        benchmark[f"b{number:03d}"], training[f"t{number:03d}"] = " ".join(words), " ".join(edited)
        if jaccard(shingles(" ".join(words)), shingles(" ".join(edited))) >= THRESHOLD:
            true.add(f"t{number:03d}")
    assert 40 < len(true) < 160
    near = NearDuplicates(THRESHOLD)
    near.add(Text(*pair) for pair in benchmark.items())
    near.look_up(Text(*pair) for pair in training.items())
    assert near.finding().facts["near_duplicates"] == len(true)


def test_texts_too_short_to_differ_in_one_word_are_left_to_the_exact_checks() -> None:
    words = text(Random(3), LEAST_SHINGLES + 1)
    assert len(shingles(" ".join(words))) == LEAST_SHINGLES - 1
    assert found({"b": " ".join(words)}, {"t": " ".join(words)}) == []
    long = [*words, "more"]
    changed = [*long[:14], "changed", *long[15:]]
    assert jaccard(shingles(" ".join(long)), shingles(" ".join(changed))) == THRESHOLD
    assert found({"b": " ".join(long)}, {"t": " ".join(changed)}) == ["t ~ b (0.80)"]


def test_the_nearest_is_named_whatever_the_order() -> None:
    words = text(Random(4), 90)
    near, nearer = " ".join([*words[:-4], "a", "b", "c", "d"]), " ".join([*words[:-1], "x"])
    for benchmark in ({"near": near, "nearer": nearer}, {"nearer": nearer, "near": near}):
        assert found(benchmark, {"t": " ".join(words)}) == ["t ~ nearer (0.98)"]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.9, 1.0])
def test_bands_miss_hardly_any_pair_at_the_threshold(threshold: float) -> None:
    bands, rows = banding(threshold)
    assert bands * rows <= 128
    assert (1 - threshold**rows) ** bands <= 1e-3


def test_shingles_and_jaccard() -> None:
    assert shingles("One two, THREE four!") == {"one two three", "two three four"}
    assert shingles("one two") == frozenset()
    assert jaccard(frozenset("ab"), frozenset("bc")) == 1 / 3
    assert jaccard(frozenset(), frozenset()) == 0
