"""The rollout table: which rollouts it keeps, what a row says, and what a resumed run makes of its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.training.grpo.scored import ScoredRollout
from personamem_pipeline.training.grpo.table import TAIL, RolloutTable, extremes
from tests.training.hand_made import HOSTILE, answer, item, labels, reply, scored, write


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def pair(best: float = 1.0) -> list[ScoredRollout]:
    return [scored([answer(best)], turns=[write(0, "- green tea")]), scored([answer(0.0)])]


def test_a_row_says_what_was_asked_written_and_earned(tmp_path: Path) -> None:
    own = scored(
        [answer(1.0, choice=1.0), answer(None)],
        items=[item(), item(kind="open")],
        replies=[reply("(b)"), reply("tea", finished=False)],
        turns=[write(0, "- green tea", prompt="x" * 1000 + "the end")],
        labelled=[labels("green tea", "jazz")],
        advantages=[0.5, 0.0],
        turn_parts={"length": 0.1 + 0.2},
    )
    RolloutTable(tmp_path / "rollouts.jsonl").add(7, [own])
    write_row, choice, opened = lines(tmp_path / "rollouts.jsonl")
    assert write_row == {
        "step": 7, "rollout": 0, "person": "t0", "kind": "write", "turn": 1, "prompt_tail": "x" * (TAIL - 7) + "the end",
        "reply": "- green tea", "finished": True, "tokens": 3, "memory": "- green tea", "kept": "", "retained": 0.5,
        "parts": {"length": 0.3}, "total": 0.25,
        "advantage": 1.0,  # 0.5, the mean over what could be scored, and 0.5 of its own
    }  # fmt: skip
    assert choice == {
        "step": 7, "rollout": 0, "person": "t0", "kind": "answer", "question": "t0.q0", "query": "What could I drink?",
        "options": {"a": "You could try wine.", "b": "You could try green tea."}, "right": "b", "reply": "(b)",
        "finished": True, "tokens": 3, "parts": {"choice": 1.0}, "total": 1.0, "advantage": 0.5,
    }  # fmt: skip
    assert opened["options"] is None and opened["right"] == "You could try green tea."
    assert opened["total"] is None and opened["finished"] is False


def test_the_best_and_the_worst_are_kept_and_never_more_than_asked_for(tmp_path: Path) -> None:
    rollouts = [scored([answer(total)]) for total in (0.5, None, 0.75, 0.0, 1.0)]
    assert extremes(rollouts, 2) == [4, 3]
    assert extremes(rollouts, 3) == [4, 3, 2]
    assert extremes(rollouts, 9) == [4, 3, 2, 0], "nobody knows what the unscored one is worth"
    assert extremes([scored([answer(None)])] * 2, 2) == [0, 1]
    assert extremes(rollouts[:1], 2) == [0]
    assert extremes([scored([answer(1.0)])] * 3, 2) == [0, 2]
    table = RolloutTable(tmp_path / "rollouts.jsonl", rollouts=1)
    table.add(0, rollouts)
    assert [row["rollout"] for row in lines(table.path)] == [4]


def test_a_running_job_only_appends(tmp_path: Path) -> None:
    table = RolloutTable(tmp_path / "rollouts.jsonl")
    table.add(0, pair())
    before, inode = table.path.read_bytes(), table.path.stat().st_ino
    table.add(1, pair())
    assert table.path.read_bytes().startswith(before) and table.path.stat().st_ino == inode
    assert [row["step"] for row in lines(table.path)] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("half", [b"", b'{"step": 3, "rollo', b"{", b'{"step": 3, "rollout": 0}', b"\0\0\0"])
def test_a_resumed_run_drops_the_steps_that_it_repeats(half: bytes, tmp_path: Path) -> None:
    """Killed in the middle of a line, or of a step's lines: the file ends as that of an unbroken run."""
    whole, broken = RolloutTable(tmp_path / "whole.jsonl"), RolloutTable(tmp_path / "broken.jsonl")
    for step in range(5):
        whole.add(step, pair(best=1.0 + step))
    for step in range(4):
        broken.add(step, pair(best=9.0 if step > 1 else 1.0 + step))
    with broken.path.open("ab") as file:
        file.write(half)
    again = RolloutTable(broken.path)
    for step in range(2, 5):
        again.add(step, pair(best=1.0 + step))
    assert broken.path.read_bytes() == whole.path.read_bytes()


def test_a_run_from_the_start_forgets_all(tmp_path: Path) -> None:
    for _ in range(2):
        RolloutTable(tmp_path / "rollouts.jsonl").add(0, pair())
    assert len(lines(tmp_path / "rollouts.jsonl")) == 3


@pytest.mark.parametrize("line", ["not JSON", '{"rollout": 1}', "[1]"])
def test_a_file_that_is_not_a_table_is_not_cut(line: str, tmp_path: Path) -> None:
    path = tmp_path / "rollouts.jsonl"
    path.write_text('{"step": 0}\n' + line + "\n")
    with pytest.raises(UserError, match="line 2"):
        RolloutTable(path).add(1, pair())
    assert path.read_text() == '{"step": 0}\n' + line + "\n"


def test_texts_cannot_end_a_line(tmp_path: Path) -> None:
    table = RolloutTable(tmp_path / "rollouts.jsonl")
    table.add(0, [scored([answer(0.0)], turns=[write(0, HOSTILE + "\n\r\x85")])])
    assert table.path.read_bytes().count(b"\n") == 2
    assert lines(table.path)[0]["memory"] == HOSTILE + "\n\r\x85"


def test_the_page_is_written_now_and_then_and_at_the_end(tmp_path: Path) -> None:
    table = RolloutTable(tmp_path / "rollouts.jsonl", page_every=2)
    page = tmp_path / "rollouts.html"
    sizes = []
    for step in range(1, 5):
        table.add(step, pair())
        sizes.append(page.stat().st_size if page.exists() else 0)
    assert sizes[0] == 0 < sizes[1] == sizes[2] < sizes[3]
    table.add(5, pair())
    assert table.page() == page and page.stat().st_size > sizes[3]
