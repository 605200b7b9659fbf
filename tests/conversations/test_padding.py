"""Padding comes from a pool that says nothing about anybody, and its answers are right."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.conversations.counting import count_gpt4o, load_measure
from personamem_pipeline.conversations.padding import BLOCK, BUILTIN_ROUND, Padding, load_pool
from personamem_pipeline.conversations.worked import NAMES, worked_example
from personamem_pipeline.conversations.worked.code import _TASKS
from personamem_pipeline.errors import UserError
from personamem_pipeline.llm.simulator.reader import known_preferences, named_preferences
from personamem_pipeline.llm.simulator.world import world

SPLITS = tuple(NAMES)
SAMPLE = [text for split in SPLITS for index in range(400) for text in worked_example(index, split)]


def test_no_dialogue_comes_twice_and_the_splits_share_no_message() -> None:
    texts = {split: [worked_example(i, split) for i in range(BUILTIN_ROUND)] for split in SPLITS}
    for made in texts.values():
        assert len({question for question, _ in made}) == BUILTIN_ROUND
    messages = {split: {text for pair in made for text in pair} for split, made in texts.items()}
    assert not messages["training"] & messages["benchmark"]
    assert not set(NAMES["training"]) & set(NAMES["benchmark"])


def test_a_dialogue_is_the_same_whenever_it_is_made_and_of_useful_length() -> None:
    assert worked_example(77, "training") == worked_example(77, "training")
    lengths = [sum(count_gpt4o(worked_example(i, "training"))) for i in range(400)]
    assert 150 < sum(lengths) / len(lengths) < 350
    assert min(lengths) > 90
    assert max(lengths) < 500


def test_it_gives_nobody_away() -> None:
    words = [" ".join(re.findall(r"[a-z]+", text.lower())) for text in SAMPLE]
    together = f" {' | '.join(words)} "
    assert [cue for cue in world().cues() if f" {cue} " in together] == []
    assert [found for text in SAMPLE for found in named_preferences(text)] == []
    assert known_preferences([{"role": "user", "content": text} for text in SAMPLE]) == {}


@pytest.mark.parametrize("task", _TASKS, ids=lambda task: task.verb)
def test_the_code_does_what_is_said(task: Any) -> None:
    for n in (2, 3, 5):
        made: dict[str, Any] = {}
        exec(task.code.format(f="f", n=n), made)
        for values in ([5, 1, 4, 4, 9, 2, 8], [7, 3, 3, 60, 2, 1, 5, 80, 12]):
            assert made["f"](list(values)) == task.example(values, n)
        assert not made["f"]([]) or made["f"]([]) == ([], 0)


def test_the_sums_are_right() -> None:
    checked = 0
    for text in SAMPLE:
        for a, b, total in re.findall(r"(\d+) x (\d+) = (\d+)\b(?!\.)", text):
            assert int(a) * int(b) == int(total), text
            checked += 1
        if answer := re.search(r"So (\d+) in base (\d+) is (\w+),", text):
            assert int(answer[3], int(answer[2])) == int(answer[1])
            checked += 1
    assert checked > 20


def padding(name: str = "builtin") -> Padding:
    return Padding(load_pool(name), load_measure("words"))


def test_a_fill_never_goes_beyond_and_comes_near() -> None:
    source = padding()
    for tokens in (-5, 0, 10, 90, 1000, 20_000):
        added = source.fill("t00001", "training", tokens)
        total = sum(dialogue.size.tokens for dialogue in added)
        assert total <= max(tokens, 0)
        assert tokens < 1000 or total > 0.98 * tokens
        assert len({dialogue.turns for dialogue in added}) == len(added)
    assert source.fill("t00001", "training", 5000) == padding().fill("t00001", "training", 5000)
    assert source.fill("t00002", "training", 5000) != source.fill("t00001", "training", 5000)


def dialogue(*contents: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)], "tokens": 3}


def test_a_file_in_either_form_is_used_up_before_anything_comes_twice(tmp_path: Path) -> None:
    items = [dialogue(f"what is {n}", f"it is {n}") for n in range(BLOCK + 5)]
    lines, released = tmp_path / "pool.jsonl", tmp_path / "combined_irrelevant_data.json"
    lines.write_text("\n".join(json.dumps(item) for item in [*items, items[0]]) + "\n\n")
    released.write_text(json.dumps(items))
    for path in (lines, released):
        source = padding(str(path))
        assert source.author == f"padding/{path.name}"
        all_of_them = source.fill("t1", "training", 6 * len(items))
        assert len({item.turns for item in all_of_them}) == len(all_of_them) == len(items)
        again = source.fill("t1", "benchmark", 6 * len(items) + 12)
        assert len(again) == len(items) + 2
        assert [item.size.tokens for item in again] == [6] * len(again)
        assert source.fill("t1", "training", 5) == []


@pytest.mark.parametrize(
    ("name", "text", "where", "problem"),
    [
        ("pool.jsonl", json.dumps(dialogue("a", "b")) + '\n{"messages": [', ":2", "not JSON"),
        ("pool.jsonl", json.dumps(dialogue("a")), ":1", "messages"),
        ("pool.jsonl", "\n" + json.dumps(dialogue("a", "b", "c")), ":2", "alternate"),
        ("pool.jsonl", json.dumps(dialogue("a", " ")), ":1", "messages.1.content"),
        ("pool.jsonl", '{"messages": [{"role": "system", "content": "x"}]}', ":1", "messages.0.role"),
        ("pool.jsonl", '["a"]', ":1", "dictionary"),
        ("pool.jsonl", "", "pool.jsonl", "no dialogue"),
        ("pool.json", "{}", "pool.json", "not a list"),
        ("pool.json", json.dumps([dialogue("a", "b"), 5]), ": item 2", "dictionary"),
        ("pool.json", "[", "pool.json", "not JSON"),
    ],
)
def test_a_broken_pool_is_named_with_its_line(tmp_path: Path, name: str, text: str, where: str, problem: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError, match=problem) as caught:
        load_pool(str(path))
    assert caught.value.where.endswith(where)
    assert caught.value.where.startswith(str(path))


def test_a_pool_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        load_pool(str(tmp_path / "none.jsonl"))
    (tmp_path / "latin.jsonl").write_bytes(b'{"messages": "\xe9"}')
    with pytest.raises(UserError, match="UTF-8"):
        load_pool(str(tmp_path / "latin.jsonl"))
