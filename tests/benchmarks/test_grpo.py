"""Each part of `benchmarks.grpo` runs at its tiniest size and says what it measured; pure counts are held to examples."""

from __future__ import annotations

import gc
import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import grpo, grpo_batches, grpo_generation, grpo_growth, grpo_prefix, grpo_questions, grpo_stock
from benchmarks.grpo_prefix import PrefixCache
from benchmarks.grpo_setup import MESSAGE, Part, made_up, renderer, text, words


@pytest.fixture(scope="module", autouse=True)
def imported_for_good() -> Iterator[None]:
    """Every trainer starts by collecting garbage; going through all that torch and trl imported takes a second each time."""
    gc.freeze()
    yield
    gc.unfreeze()


def told(part: Part) -> list[dict[str, str]]:
    """A part's table, line by line; every line is as long as the heading."""
    head, *body = part.lines
    json.dumps(part.figures)
    return [dict(zip(head, line, strict=True)) for line in body]


def test_ours_beside_stock_trl(tmp_path: Path) -> None:
    part = grpo_stock.measure(True, tmp_path)
    assert [line["what"] for line in told(part)] == list(grpo_stock.CASES)
    for line in told(part):
        assert 0.1 < float(line["ours / stock"]) < 10


def test_different_work_is_not_compared() -> None:
    import torch

    same = {"weight": torch.ones(3)}
    grpo_stock.check(same, {"weight": torch.ones(3)}, [[[1]]], [[[1]]])
    with pytest.raises(SystemExit, match="gradients of weight differ"):
        grpo_stock.check(same, {"weight": torch.full((3,), 1.1)}, [[[1]]], [[[1]]])
    with pytest.raises(SystemExit, match="different tokens"):
        grpo_stock.check(same, same, [[[1]]], [[[2]]])


def test_sorted_micro_batches_compute_fewer_tokens(tmp_path: Path) -> None:
    part = grpo_batches.measure(True, tmp_path)
    for figures in part.figures.values():
        assert figures["real"] <= figures["slots"]["sorted"] < figures["slots"]["padded"]
    assert len(told(part)) == 4


def test_several_questions_per_memory_sample_and_train_on_less(tmp_path: Path) -> None:
    part = grpo_questions.measure(True, tmp_path)
    for name in part.figures:
        one, four = (line for line in told(part) if line["data"] == name)
        assert float(four["sampled tokens"]) < float(one["sampled tokens"])
        assert float(four["trained tokens"]) < float(one["trained tokens"]) / 2
        assert 0 < int(four["generating"].rstrip("%")) < 100


def test_a_prefix_is_whole_blocks_from_the_start() -> None:
    cache, prompt = PrefixCache(block=4), list(range(10))
    assert cache.read(prompt) == 0
    assert cache.read(prompt) == 8
    assert cache.read([*prompt[:7], 99, 98, 97]) == 4, "the second block differs"
    assert cache.read([99, *prompt]) == 0, "the same tokens elsewhere"
    assert cache.read([*prompt[:4], 50, 51, 52, 53, *prompt[8:]]) == 4
    assert cache.read([50, 51, 52, 53]) == 0, "a known block, but not after nothing"
    assert cache.read(prompt[:8]) == 4, "the last token is computed, and with it its block"


def test_chunk_first_leaves_less_to_compute(tmp_path: Path) -> None:
    part = grpo_prefix.measure(True, tmp_path)
    for figures in part.figures.values():
        assert figures["memory_first"]["prompt"] == figures["chunk_first"]["prompt"], "the same text in another order"
        assert all(0 < figures[order]["computed"] < figures[order]["prompt"] for order in grpo_prefix.ORDERS)
    full = part.figures["published shape"]
    assert full["chunk_first"]["computed"] < full["memory_first"]["computed"]


def test_every_way_to_generate_replies_the_same(tmp_path: Path) -> None:
    part = grpo_generation.measure(True, tmp_path)
    assert all(float(line["tokens/s"]) > 0 for line in told(part))
    replies: dict[str, Any] = {"one": lambda: [[1, 2]], "other": lambda: [[1, 3]]}
    with pytest.raises(SystemExit, match="1 of 1 replies differ"):
        grpo_generation.compare(replies, 1)


def test_a_longer_history_is_more_write_turns(tmp_path: Path) -> None:
    part = grpo_growth.measure(True, tmp_path)
    assert [line["write turns"] for line in told(part)] == ["2", "4"]
    assert part.figures["line"]["seconds_per_chunk"] > 0


def test_made_up_texts_are_as_long_as_they_say() -> None:
    count = renderer().count
    assert all(count(" " + word) == 1 for word in words()[::50])
    assert count(" " + text(30, "a")) == 30
    assert text(30, "a") == text(30, "a") != text(30, "b")
    messages = made_up("p", 3 * MESSAGE).messages
    assert [count(f"{message.role}: {message.content}") + 1 for message in messages] == [MESSAGE] * 3


def test_parts_measured_before_stay_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "grpo.json"
    out.write_text('{"parts": {"stock": {"title": "before"}}}')
    monkeypatch.setattr("sys.argv", ["grpo", "--quick", "--parts", "prefix", "--out", str(out)])
    monkeypatch.setattr(grpo_prefix, "measure", lambda *_: Part("now", [["a"], ["1"]], {"a": 1}))
    grpo.main()
    parts = json.loads(out.read_text())["parts"]
    assert parts["stock"] == {"title": "before"}
    assert parts["prefix"]["figures"] == {"a": 1}
