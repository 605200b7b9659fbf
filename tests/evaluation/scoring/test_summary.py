from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.records import Answer
from personamem_pipeline.evaluation.scoring.rows import Rows
from personamem_pipeline.evaluation.scoring.summary import leak_questions, summarize
from personamem_pipeline.evaluation.source import Source
from tests.evaluation.scoring.made import BOUNDS, marks, row, rows, run

STRAIGHT = dict(zip("abcd", ("w", "x", "y", "z"), strict=True))
SHIFTED = dict(zip("abcd", ("z", "w", "x", "y"), strict=True))


class Texts(dict[Any, Any]):
    """Options w to z under a to d, in order 1 shifted by one letter."""

    def __missing__(self, place: tuple[str, int]) -> dict[str, str]:
        return SHIFTED if place[1] else STRAIGHT


def summary(answers: list[Answer], leak_ids: frozenset[str] = frozenset()) -> dict[str, Any]:
    return summarize(run(answers), rows(answers), texts=Texts(), leak_questions=leak_ids, **BOUNDS)


def test_headline_figures_by_hand() -> None:
    found = summary(
        [
            row("q1", "p1", "a"),
            row("q1", "p1", "b", right="b", order=1),
            row("q2", "p1", "a"),
            row("q2", "p1", None, right="b", order=1, picked_leniently="b"),
            row("q3", "p2", "c"),
            row("q3", "p2", "d", right="b", order=1, finished=False),
        ]
    )
    assert found["accuracy"] == 3 / 6
    assert found["accuracy_lenient"] == 4 / 6
    assert (found["n"], found["questions"], found["persons"]) == (6, 3, 2)
    assert (found["unparseable"], found["parsed_only_leniently"], found["unfinished"]) == (1, 1, 1)
    assert found["right_in_every_order"] == 1 / 3
    # q1: w and w; q2: w and nothing; q3: y and y, wrong both times.
    assert found["consistency"] == 2 / 3
    assert found["letters_picked"] == {"a": 2 / 5, "b": 1 / 5, "c": 1 / 5, "d": 1 / 5}
    assert found["letters_accuracy"] == {"a": 2 / 3, "b": 1 / 3}
    # Right are a and b in a half each; b was picked in a fifth.
    assert found["letter_bias"] == pytest.approx(0.5 - 0.2)


def test_what_had_no_reply_is_wrong_and_counted_apart() -> None:
    found = summary(
        [
            row("q1", "p1", "a"),
            row("q2", "p1", None, problem="over_long", finished=False),
            row("q3", "p2", None, problem="refused", finished=False),
            row("q4", "p2", None, finished=False),
        ]
    )
    assert found["accuracy"] == 1 / 4
    assert [found[name] for name in ("unparseable", "over_long", "refused", "unfinished")] == [1, 1, 1, 1]


def test_intervals_need_two_persons_and_a_perfect_score_is_not_certain() -> None:
    alone = summary(marks("1101"))
    assert alone["accuracy"] == 0.75
    assert {alone[name] for name in ("low", "high", "se", "sandwich_low", "sandwich_high")} == {None}
    several = summary(marks("1100", "1110", "0100", "1111"))
    assert several["low"] < several["accuracy"] < several["high"]
    assert several["sandwich_low"] < several["accuracy"] < several["sandwich_high"]
    perfect = summary(marks("11", "11", "11"))
    assert perfect["accuracy"] == perfect["high"] == 1.0
    assert perfect["low"] < 0.8


def test_leak_rate_is_of_the_questions_that_could_leak() -> None:
    answers = [
        row("q1", "p1", "b", leaks=True),
        row("q1", "p1", "a", order=1),
        row("q2", "p2", None),
        row("q3", "p2", "c", leaks=True),  # of another type: something to forget
    ]
    found = summary(answers, frozenset({"q1", "q2"}))
    assert found["leak_rate"] == 1 / 3
    assert 0 <= found["leak_low"] < 1 / 3 < found["leak_high"] <= 1
    nobody = summary([answer.model_copy(update={"leaks": False}) for answer in answers], frozenset({"q1", "q2"}))
    assert nobody["leak_rate"] == nobody["leak_low"] == 0
    assert nobody["leak_high"] > 0.5  # two persons do not prove that nothing leaks


def test_a_benchmark_that_does_not_say_which_options_leak_has_no_leak_rate(source: Source) -> None:
    found = summary(marks("10", "11"))
    assert (found["leak_rate"], found["leak_low"], found["leak_high"]) == (None, None, None)
    ours = source.questions[0].model_copy(
        update={"pref_type": "sensitive_info", "incorrect_kinds": ("leak", "wrong", "helpless")}
    )
    released = ours.model_copy(update={"question_id": "r", "incorrect_kinds": ("other", "other", "other")})
    assert leak_questions([ours, released, *source.questions[1:]]) == {ours.question_id}


def test_nothing_parsed_has_no_favourite_letter_and_one_order_no_consistency() -> None:
    found = summary(marks("--", "-"))
    assert (found["accuracy"], found["letters_picked"], found["letter_bias"]) == (0.0, {}, None)
    assert found["consistency"] is None


def test_no_answers_is_an_error_not_a_zero() -> None:
    with pytest.raises(UserError, match="s: a system without answers"):
        Rows.of([], "s")


ANSWER = st.tuples(
    st.sampled_from(["q1", "q2", "q3", "q4"]), st.integers(0, 2), st.sampled_from([None, *"abcd"]), st.sampled_from("abcd"),
    st.sampled_from(["", "", "over_long", "refused"]),
)  # fmt: skip


@given(st.lists(ANSWER, min_size=1, max_size=24, unique_by=lambda item: item[:2]))
def test_every_answer_is_counted_once(items: list[tuple[str, int, str | None, str, str]]) -> None:
    answers = [
        row(question, f"p{question in ('q1', 'q2')}", None if problem else picked, right, order, problem=problem)
        for question, order, picked, right, problem in items
    ]
    found = summary(answers)
    parsed = sum(answer.picked is not None for answer in answers)
    assert found["unparseable"] + found["over_long"] + found["refused"] + parsed == found["n"] == len(answers)
    assert found["right_in_every_order"] <= 1 and found["accuracy"] <= found["accuracy_lenient"] <= 1
    if parsed:
        assert sum(found["letters_picked"].values()) == pytest.approx(1)
        assert 0 <= found["letter_bias"] <= 1
    if found["low"] is not None:
        assert 0 <= found["low"] <= found["accuracy"] <= found["high"] <= 1
