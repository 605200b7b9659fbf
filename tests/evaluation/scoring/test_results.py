from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.arrow import write_parquet
from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.records import Answer, Outputs
from personamem_pipeline.evaluation.results import FORMAT, ONE_PERSON, build, certificate_funnel, load, totals_of
from personamem_pipeline.evaluation.scoring.answers import AnswerKey, answer_key, answers, open_answers
from personamem_pipeline.evaluation.scoring.changes import Incomparable, changes
from personamem_pipeline.evaluation.scoring.runs import SystemRun
from personamem_pipeline.evaluation.scoring.shown import select_shown
from personamem_pipeline.evaluation.source import Source
from personamem_pipeline.evaluation.systems.base import Named
from personamem_pipeline.evaluation.systems.context import NoHistory
from personamem_pipeline.evaluation.systems.memory import MemorySystem
from personamem_pipeline.presets import MemoryConfig, RegressionConfig
from personamem_pipeline.questions.released_records import RELEASED
from personamem_pipeline.records import Rejection
from personamem_pipeline.seeds import canonical_json

Runs = dict[str, SystemRun]
BUILD: dict[str, Any] = {"resamples": 300, "open_threshold": 0.5, "shown_questions": 10}


def scored(name: str, outputs: list[Outputs], key: AnswerKey, **more: Any) -> SystemRun:
    replies = [reply for batch in outputs for reply in batch.replies]
    values = {
        "name": name,
        "label": name,
        "role": "model",
        "reading": "memory",
        "model": name,
        "memory_cap": 200,
        **more,
    }
    return SystemRun(
        answers=answers(name, key, replies), open=open_answers(name, key, replies),
        steps=[step for batch in outputs for step in batch.steps], **values,
    )  # fmt: skip


def asked(source: Source, memory: MemoryConfig, model: Callable[[float], Any], grpo: float = 1.0) -> Runs:
    """Three models of different skill, and the best of them without any history."""
    key, found = answer_key(source), {}
    for name, skill in (("base", 0.1), ("sft", 0.5), ("grpo", grpo)):
        system = MemorySystem(Named(name, name, "model", open=name == "grpo"), model(skill), memory)
        found[name] = scored(name, [system.run(batch) for batch in source.batches()], key)
    blind = NoHistory(Named("no_history", "no history", "control"), model(grpo), memory)
    found["no_history"] = scored(
        "no_history", [blind.run(batch) for batch in source.batches()], key, role="control", reading="no_history",
        model="grpo",
    )  # fmt: skip
    return found


@pytest.fixture
def runs(source: Source, memory: MemoryConfig, model: Callable[[float], Any]) -> Runs:
    return asked(source, memory, model)


def test_a_whole_evaluation(source: Source, runs: Runs) -> None:
    found = build(source, runs, provenance={"versions": {}}, remarks=["x was left out"], **BUILD)
    accuracy = {row["name"]: row["accuracy"] for row in found["systems"]}
    # A reader of everything is right on all four topics, one of nothing only where nothing should be used.
    assert accuracy["grpo"] == 1.0 and accuracy["no_history"] == 0.25
    assert accuracy["no_history"] <= accuracy["base"] < accuracy["sft"] < 1
    assert [(row["a"], row["b"]) for row in found["tests"]] == [
        ("grpo", "sft"), ("sft", "base"), ("grpo", "base"), ("grpo", "no_history"),
    ]  # fmt: skip
    (grpo,) = (row for row in found["forget"] if row["system"] == "grpo")
    assert (grpo["asked"], grpo["pairs"], grpo["both"], grpo["not_measurable"]) == (16, 16, 1.0, 0)
    assert {row["system"] for row in found["forget"]} == {"base", "sft", "grpo"}
    assert [row["system"] for row in found["open"]] == ["grpo"] and found["open"][0]["missing"] == 32
    assert {row["n"] for row in found["slices"]["grpo"]["type"]} == {16}
    assert found["remarks"][0] == "x was left out" and found["remarks"][1].startswith("8 people are few")
    assert found["leak_sizes"] == []
    assert found["changes"] is found["regressions"] is None
    assert totals_of(found, "grpo").mean == 1.0
    assert totals_of(found, "sft").names == tuple(sorted(source.by_person))


def test_the_same_answers_are_the_same_bytes(source: Source, runs: Runs) -> None:
    text = canonical_json(build(source, runs, **BUILD))  # refuses what is no number
    assert canonical_json(build(source, runs, **BUILD)) == text
    assert "/work" not in text and "/tmp" not in text


def test_what_is_shown(source: Source, runs: Runs) -> None:
    found = build(source, runs, **BUILD)
    chosen = [row["question_id"] for row in found["shown"]]
    assert chosen == select_shown(runs, 10) and len(chosen) == 10
    marks = [[row["answers"][name]["correct"] for name in ("base", "sft", "grpo")] for row in found["shown"]]
    assert all(len(set(map(sum, own))) > 1 for own in marks)  # models differ on more than ten
    row = found["shown"][0]
    own = row["answers"]["grpo"]
    assert own["picked"] == [row["right"], row["right"]] and own["open_answer"] is not None
    assert row["answers"]["base"]["open_answer"] is None
    assert [turn["role"] for turn in row["evidence"]] == ["user"] * len(row["evidence"]) and row["evidence"]
    steps = found["memories"][row["person_id"]]["grpo"]
    assert [step["index"] for step in steps] == list(range(len(steps)))
    assert steps[0]["chunk"][0].startswith("user: My drinks is")
    assert set(found["memories"][row["person_id"]]) == {"base", "sft", "grpo"}
    nothing = build(source, runs, **{**BUILD, "shown_questions": 0})
    assert (nothing["shown"], nothing["memories"]) == ([], {})


def test_one_person_has_no_intervals_and_says_so(
    source: Source, memory: MemoryConfig, model: Callable[[float], Any]
) -> None:
    own = source.by_person["b000"]
    alone = replace(source, questions=own)
    found = build(alone, asked(alone, memory, model), **BUILD)
    assert found["remarks"] == [ONE_PERSON]
    assert found["power"] is None
    for row in [
        *found["systems"],
        *found["tests"],
        *found["type_tests"],
        *found["gaps"],
        *found["forget"],
        *found["open"],
    ]:
        unknown = [
            key for key in row if key in ("p", "p_corrected", "mcnemar_p", "se") or key.endswith(("low", "high"))
        ]
        assert unknown and all(row[key] is None for key in unknown)


def test_a_system_that_did_not_answer_everything_is_refused(source: Source, runs: Runs) -> None:
    short = replace(runs["sft"], answers=runs["sft"].answers[1:])
    with pytest.raises(UserError, match="system sft: its 63 answers are not those to the 64"):
        build(source, {"grpo": runs["grpo"], "sft": short}, **BUILD)
    with pytest.raises(UserError, match="no system was evaluated"):
        build(source, {}, **BUILD)


def put(directory: Path, source: Source, runs: Runs, benchmark: str = "v1") -> Path:
    directory.mkdir()
    found = build(source, runs, provenance={"versions": {"benchmark": benchmark}}, **BUILD)
    (directory / "results.json").write_text(json.dumps(found))
    write_parquet(directory / "answers.parquet", Answer, (row for run in runs.values() for row in run.answers))
    return directory


def test_changes_against_an_earlier_report(
    source: Source, runs: Runs, memory: MemoryConfig, model: Callable[[float], Any], tmp_path: Path
) -> None:
    earlier = put(tmp_path / "earlier", source, asked(source, memory, model, grpo=0.0))
    same: dict[str, Any] = {"benchmark": "v1", "orders": 2, "seed": 0, "resamples": 300, "reading": {}}
    found = changes(runs, earlier, **same)
    assert found is not None and found["against"] == "earlier"
    tests = {row["system"]: row for row in found["tests"]}
    assert set(tests) == set(runs)
    assert tests["base"]["difference"] == 0 and tests["base"]["p_corrected"] == 1
    grpo, gained = tests["grpo"], found["flipped_counts"]["grpo"]["gained"]
    assert (grpo["accuracy"], grpo["difference"]) == (1.0, pytest.approx(gained / 64)) and gained > 0
    assert grpo["p"] <= grpo["p_corrected"] < 0.05
    assert {row["system"] for row in found["flipped"]} == {"grpo"} and len(found["flipped"]) == min(50, gained)
    assert all(not row["before"] and row["after"] for row in found["flipped"])
    assert found["flipped_counts"]["grpo"]["lost"] == 0

    better = put(tmp_path / "better", source, runs)
    fallen = changes(asked(source, memory, model, grpo=0.0), better, **same)
    now = build(source, runs, changes=fallen, regression=RegressionConfig(), **BUILD)
    assert fallen is not None and len(now["regressions"]) == 1 and "grpo fell by" in now["regressions"][0]
    assert changes(runs, None, **same) is None


def test_reports_that_asked_something_else_are_not_compared(source: Source, runs: Runs, tmp_path: Path) -> None:
    earlier = put(tmp_path / "earlier", source, runs)
    same: dict[str, Any] = {"benchmark": "v1", "orders": 2, "seed": 0, "resamples": 300, "reading": {}}
    for other in ({"benchmark": "v2"}, {"orders": 4}, {"seed": 1}, {"reading": {"temperature": 0.1}}):
        with pytest.raises(Incomparable, match="did not ask the same"):
            changes(runs, earlier, **{**same, **other})
    written = (earlier / "results.json").read_text()
    told = json.loads(written)
    told["provenance"]["systems"] = {"grpo": {"reading": "memory", "memory_tokens": 9}}
    (earlier / "results.json").write_text(json.dumps(told))
    found = changes(runs, earlier, **same, configured={"grpo": {"reading": "memory"}})
    assert found is not None and found["left_out"] == ["grpo"]
    assert {test["system"] for test in found["tests"]} == set(runs) - {"grpo"}
    (earlier / "results.json").write_text(written.replace(f'"format": {FORMAT}', '"format": 3'))
    with pytest.raises(Incomparable, match="not the results"):
        changes(runs, earlier, **same)
    (earlier / "results.json").write_text(written)
    (earlier / "answers.parquet").unlink()
    with pytest.raises(UserError, match="has no answers"):
        changes(runs, earlier, **same)


def test_results_are_loaded_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with pytest.raises(UserError, match="no such file"):
        load(path)
    for text, problem in (
        ("{", "not JSON"),
        ("[]", "not the results"),
        ('{"format": 3, "persons": {}}', "not the results"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=problem):
            load(path)


def test_the_funnel_counts_every_reason_and_invents_no_certificate(source: Source) -> None:
    rejected = [
        Rejection(row_id="1", person_id="p", reason="blind: 1.0 over 0.5\noracle: 0 under 1"),
        Rejection(row_id="2", person_id="p", reason="refused: the endpoint said:\n  sorry"),
    ]
    found = certificate_funnel(source.questions, rejected)
    assert (found["candidates"], found["admitted"], found["refused"]) == (34, 32, 2)
    assert found["reasons"] == {"blind": 1, "oracle": 1, "refused": 1}
    assert (found["blind_accuracy"], found["oracle_accuracy"], found["readers"]) == (0.25, 1.0, ["hand"])
    released = [question.model_copy(update={"certificate": RELEASED}) for question in source.questions]
    found = certificate_funnel(released, [])
    assert (found["blind_accuracy"], found["oracle_accuracy"], found["readers"]) == (None, None, [])
