"""Balance: a shift of types, a topic that takes over, demographics that are off are each found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from personamem_pipeline.questions.balance import (
    OTHER_TOPICS,
    RARE,
    balance,
    balanced,
    compare,
    merged_cells,
    type_shifts,
)
from personamem_pipeline.questions.facts import QuestionFacts
from personamem_pipeline.questions.findings import Finding
from tests.questions.dealt import CONFIG, made_question, people

TARGETS = {"age": {"young": 0.5, "older": 0.5}}


def rows(topics: Sequence[str] = ()) -> list[QuestionFacts]:
    given = [made_question(f"t{n:04d}", n % 7, topic=topic) for n, topic in enumerate(topics)]
    return [QuestionFacts.of(question) for question in given or people()[1]]


def spread(questions: list[QuestionFacts], planned: dict[str, int] | None = None, **changes: Any) -> Finding:
    persons = changes.pop("persons", [f"t{n:04d}" for n in range(100)])
    return balanced(planned or balance(questions)["pref_type"], questions, CONFIG, persons=persons, **changes)


def ages(young: int, older: int) -> dict[str, dict[str, str]]:
    values = ["young"] * young + ["older"] * older
    return {f"t{n:04d}": {"age": value} for n, value in enumerate(values)}


def test_what_is_as_planned_is_balanced_and_says_what_was_not_tested() -> None:
    finding = spread(rows())
    assert finding.passed
    assert str(finding.facts["demographics"]).startswith("not applicable")


def test_a_type_that_refusals_hit_is_found() -> None:
    many = rows() * 20
    had = balance(many)["pref_type"]
    assert spread(many, had).passed
    finding = spread(many, had | {"sensitive_info": 2 * had["sensitive_info"]})
    assert not finding.passed
    assert [problem for problem in finding.facts["unbalanced"] if problem.startswith("type sensitive_info: -0.4")]
    few = balance(rows())["pref_type"]
    assert spread(rows(), few | {"sensitive_info": 2 * few["sensitive_info"]}).passed, (
        "a handful of rows proves nothing"
    )
    rare = type_shifts({"a": 900, "b": 90}, {"a": 900, "b": 1})
    assert rare["b"] < -0.98, "a rare type that is gone is no small shift"


def test_a_topic_that_takes_over_is_found_whatever_its_case() -> None:
    assert spread(rows(["a", "b", "c", "d", "e"])).passed
    finding = spread(rows(["Tea", "tea ", "b", "c", "d", "e"]))
    assert not finding.passed and finding.facts["unbalanced"] == ["topic tea: 0.333 of the questions, over 0.2"]


def test_demographics_as_in_the_tables_pass_and_others_do_not() -> None:
    fair = spread(rows(), attributes=ages(52, 48), targets=TARGETS)
    assert fair.passed and fair.facts["demographics"]["age"]["p"] == pytest.approx(0.6892, abs=1e-4)
    unfair = spread(rows(), attributes=ages(90, 10), targets=TARGETS)
    assert not unfair.passed and unfair.facts["unbalanced"][0].startswith("age: chi-square p")


def test_a_value_that_no_table_has_and_a_person_without_attributes_are_found() -> None:
    odd = ages(50, 49) | {"t0099": {"age": "ageless"}}
    assert (
        "age: 1 of 100 persons have no value" in spread(rows(), attributes=odd, targets=TARGETS).facts["unbalanced"][0]
    )
    lacking = spread(rows(), attributes=ages(50, 49), targets=TARGETS)
    assert not lacking.passed and lacking.facts["demographics"]["age"]["unknown"] == 1
    assert not spread(rows(), targets=TARGETS).passed, "targets without attributes are no silent pass"


def test_an_attribute_left_open_is_a_value_of_its_own() -> None:
    open_ages = {person: {} for person in list(ages(50, 50))[:50]} | dict(list(ages(0, 100).items())[50:])
    finding = spread(rows(), attributes=open_ages, targets={"age": {"": 0.5, "older": 0.5}})
    assert finding.passed and finding.facts["demographics"]["age"]["p"] == 1.0


def test_rare_values_are_tested_together() -> None:
    expected = {"a": 60.0, "b": 30.0, "c": 6.0, "d": 3.0, "e": 1.0}
    cells = merged_cells(expected, {"a": 58, "b": 30, "c": 7, "d": 4, "e": 1})
    assert cells == {"a": (60.0, 58), "b": (30.0, 30), RARE: (10.0, 12)}
    assert merged_cells({"a": 3.0, "b": 1.0}, {"a": 4}) == {RARE: (4.0, 4)}


def test_too_few_persons_to_tell_is_said() -> None:
    result = compare({"young": 0.5, "older": 0.5}, ["young", "older", "young"], [])
    assert result["p"] is None and result["cells"] == 1 and result["distance_to_other_split"] is None


def test_the_other_split_is_compared_for_information() -> None:
    both = ages(50, 50) | {f"b{n}": {"age": "young"} for n in range(10)}
    finding = spread(rows(), attributes=both, targets=TARGETS, others=[f"b{n}" for n in range(10)])
    assert finding.passed and finding.facts["demographics"]["age"]["distance_to_other_split"] == 0.5


def test_counts_stay_short_however_many_topics_there_are() -> None:
    counts = balance(rows([f"topic {n}" for n in range(50)] + ["topic 3"]))
    assert next(iter(counts["topic"])) == "topic 3" and counts["topic"][OTHER_TOPICS] == 30
    assert all(sum(column.values()) == 51 for column in counts.values())
