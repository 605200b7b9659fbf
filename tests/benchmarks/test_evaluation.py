"""Each part of `benchmarks.evaluation` runs at its smallest size, compares what should be equal, says what it measured."""

from __future__ import annotations

import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import evaluation, evaluation_overhead, evaluation_report, evaluation_sharing
from benchmarks.evaluation_setup import Bench, Part, Recorded, same
from personamem_pipeline.arrow import write_parquet
from personamem_pipeline.errors import UserError
from personamem_pipeline.memory.generators.scripted import ScriptedGenerator
from personamem_pipeline.questions.write import UNCERTIFIED
from personamem_pipeline.records import History, Question
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.store import Store

ADMITTED = UNCERTIFIED.model_copy(update={"admitted": True})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Three made-up people in a store of their own, asked by the tiny base model."""
    source = evaluation_report.made_up(3)
    files = tmp_path / "files"
    files.mkdir()
    histories = [history.model_copy(update={"sessions": history.sessions[:2]}) for history in source.histories()]
    questions = [
        question.model_copy(update={"certificate": ADMITTED})
        for question in source.questions
        if question.question_id.endswith(("q00", "q01"))
    ]
    write_parquet(files / "histories.parquet", History, histories)
    write_parquet(files / "questions.parquet", Question, questions)
    Store(tmp_path / "home" / "store").put_directory("benchmark", files, parents={}, producer={"stage": "test"})
    return Bench(tmp_path / "home", PROJECT / "models" / "tiny-base", "demo", people=2, rounds=1)


def told(part: Part) -> list[dict[str, str]]:
    """A part's table, line by line; every line is as long as the heading."""
    head, *body = part.lines
    json.dumps(part.figures)
    return [dict(zip(head, line, strict=True)) for line in body]


def test_three_ways_reply_the_same(bench: Bench) -> None:
    part = evaluation_sharing.measure(bench)
    assert [line["way"] for line in told(part)] == [
        evaluation_sharing.ALONE, evaluation_sharing.SHARED, evaluation_sharing.BATCHED
    ]  # fmt: skip
    assert part.figures["people"] == 2
    assert "equal" in part.notes[0]


def test_question_by_question_reads_the_history_for_each(bench: Bench) -> None:
    def calls(shared: bool) -> int:
        source = bench.source(orders=1)
        (batch,) = source.batches()
        items = evaluation_sharing.asked(batch)
        generator = ScriptedGenerator(lambda prompt: "none")
        evaluation_sharing.one_by_one(batch, items, generator, bench.memory, shared=shared)
        return len(generator.prompts) - len(items)

    assert calls(shared=False) == 2 * calls(shared=True) > 0, "two questions a person"


def test_the_harness_is_held_against_the_same_calls(bench: Bench) -> None:
    part = evaluation_overhead.measure(bench)
    assert [line["what"] for line in told(part)] == list(evaluation_overhead.WHAT.values())
    assert part.figures["share"] > 0
    assert part.figures["share_of_a_further_system"] > 0
    recorded = Recorded(ScriptedGenerator(lambda prompt: prompt.upper()))
    recorded.generate(["a", "b"], max_tokens=3)
    recorded.generate(["c"], max_tokens=4, seed=1)
    assert recorded.again() == ["A", "B", "C"]
    assert recorded.seconds > 0


def test_a_warm_run_needs_no_model(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []
    generator = bench.generator()

    def load(*_: object, **__: object) -> object:
        loaded.append(1)
        return generator

    monkeypatch.setattr(Bench, "generator", load)
    part = evaluation_overhead.measure_warm(bench)
    assert len(told(part)) == 2
    assert loaded == [1]


@pytest.mark.slow
def test_a_report_from_stored_outputs(bench: Bench) -> None:
    part = evaluation_report.measure(bench, persons=4)
    assert part.figures["answers"] == 4 * evaluation_report.QUESTIONS * evaluation_report.ORDERS * 12
    assert len(told(part)) == 4


def test_made_up_replies_are_right_as_often_as_they_say(tmp_path: Path) -> None:
    source = evaluation_report.made_up(6)
    journals = {name: evaluation_report.store(tmp_path, name, source) for name in ("grpo", "no_history")}
    runs = evaluation_report.read(source, journals)
    for name, run in runs.items():
        right = sum(answer.correct for answer in run.answers) / len(run.answers)
        skill = evaluation_report.SKILLS[name][1]
        assert right == pytest.approx(skill + (0.97 - skill) / 4, abs=0.07), "a wrong letter is right by chance"
    assert runs["grpo"].steps
    assert runs["grpo"].open
    assert not runs["no_history"].open


def test_different_replies_are_not_compared() -> None:
    same("equal", ["a", "b"], ["a", "b"])
    with pytest.raises(SystemExit, match="one way: 1 of 2 replies differ"):
        same("one way", ["a", "b"], ["a", "c"])


def test_without_a_benchmark_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="run `make demo` first"):
        Bench(tmp_path, tmp_path, "demo", 2, 1).source(orders=1)
    monkeypatch.setattr("sys.argv", ["evaluation", "--home", str(tmp_path), "--out", str(tmp_path / "x.json")])
    with pytest.raises(SystemExit, match="make demo"):
        evaluation.main()


@pytest.mark.parametrize("before", [None, '{"parts": {"warm": {"title": "before"}}}'])
def test_parts_measured_before_stay_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    out = tmp_path / "evaluation.json"
    if before:
        out.write_text(before)
    now: Callable[[Bench], Part] = lambda _: Part("now", [["a"], ["1"]], {"a": 1})  # noqa: E731
    monkeypatch.setattr("sys.argv", ["evaluation", "--parts", "sharing", "--out", str(out)])
    monkeypatch.setitem(evaluation.PARTS, "sharing", now)
    evaluation.main()
    parts = json.loads(out.read_text())["parts"]
    assert parts["sharing"]["figures"] == {"a": 1}
    assert ("warm" in parts) == (before is not None)
