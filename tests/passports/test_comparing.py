from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.passports.comparing import (
    CODE,
    EVENT,
    INPUT,
    MLFLOW_RUN,
    STAGE,
    VERSION,
    Statement,
    disagreements,
    making_of_run,
    making_says,
    statement,
)
from personamem_pipeline.passports.records import DagsterOrigin, Hardware, Making

A, B = "a" * 64, "b" * 64
INPUTS = {"training_dataset": A, "sft_checkpoint": B}
SOURCES = (
    statement("passport", inputs=INPUTS, facts={STAGE: "grpo", CODE: "grpo/4"}),
    statement("dagster", inputs=INPUTS, events={"training_dataset": "7", "sft_checkpoint": "9"}, facts={VERSION: A}),
    statement("mlflow", inputs=INPUTS, facts={STAGE: "grpo", CODE: "grpo/4", VERSION: A, MLFLOW_RUN: "r1"}),
    statement("making", events={"training_dataset": "7", "sft_checkpoint": "9"}, facts={VERSION: A, MLFLOW_RUN: "r1"}),
)
FACTS = [(position, fact) for position, own in enumerate(SOURCES) for fact in own.facts]


def changed(position: int, fact: str, value: str | None) -> list[Statement]:
    own = SOURCES[position]
    facts = {name: known for name, known in own.facts.items() if name != fact} | ({fact: value} if value else {})
    return [replace(other, facts=facts) if other is own else other for other in SOURCES]


def test_equal_papers_agree() -> None:
    assert disagreements(SOURCES) == []
    assert disagreements([]) == []
    assert disagreements([statement("dagster", inputs={}), statement("mlflow", inputs={})]) == [], (
        "no parents: no words"
    )


@given(st.sampled_from(FACTS), st.one_of(st.none(), st.text("0123456789abcdef", min_size=1, max_size=64)))
def test_any_one_fact_that_differs_is_named_with_who_says_it(where: tuple[int, str], value: str | None) -> None:
    position, fact = where
    found = disagreements(changed(position, fact, value))
    if value == SOURCES[position].facts[fact]:
        assert found == []
        return
    assert len(found) == 1 and found[0].startswith(f"{fact}: ")
    who = SOURCES[position].source
    said = next(part for part in found[0].removeprefix(f"{fact}: ").split("; ") if who in part)
    assert said.endswith(value[:12] if value else "nothing") or said.endswith(str(value))


def test_a_fact_that_only_one_source_knows_of_is_asked_of_all_that_speak_of_its_kind() -> None:
    more = statement("passport", inputs={**INPUTS, "teacher": "t1"}, facts={STAGE: "grpo", CODE: "grpo/4"})
    assert disagreements([more, *SOURCES[1:]]) == [f"{INPUT} teacher: passport says t1; dagster, mlflow say nothing"]


def test_a_silent_source_is_one_line() -> None:
    silent = statement("making", events={}, facts={VERSION: None, MLFLOW_RUN: ""})
    assert disagreements([*SOURCES[:3], silent]) == ["making says nothing at all"]


def test_versions_that_begin_alike_are_shown_whole() -> None:
    close = "a" * 63 + "b"
    (line,) = disagreements([statement("one", facts={VERSION: A}), statement("other", facts={VERSION: close})])
    assert line == f"{VERSION}: one says {A}; other says {close}"


def making(mlflow: str, dagster: str | None, storage: int = 7) -> Making:
    origin = DagsterOrigin(run_id=dagster, asset="grpo", parents={"sft_checkpoint": storage}) if dagster else None
    hardware = Hardware(machine="x86_64", processors=2, memory_bytes=1)
    return Making(
        checkpoint=A, passport=B, finished="2026-11-23T14:00:00Z", dagster=origin, mlflow_run=mlflow, git=None, image=None,
        hardware=hardware, python="3.11", packages={},
    )  # fmt: skip


def test_the_making_of_a_run_is_found_by_its_attempt() -> None:
    first, second, shell = making("r1", "d1"), making("r2", "d1"), making("r3", None)
    makings = [shell, first, second]
    assert making_of_run(makings, "d1", "r2") is second
    assert making_of_run(makings, "d1", "gone") is first
    assert making_of_run(makings, "d2", "gone") is None
    assert making_says(second).facts[f"{EVENT} sft_checkpoint"] == "7"
    assert making_says(None).facts == {}
