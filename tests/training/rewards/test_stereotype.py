"""Guessing by group costs more than knowing nothing, and saying nothing is no way out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.errors import Refused
from personamem_pipeline.memory.prompts import boxed
from personamem_pipeline.questions.judge import Stance
from personamem_pipeline.questions.options import lettered
from personamem_pipeline.records import DistractorKind, Question
from personamem_pipeline.training.rewards.stereotype import (
    choice_stance,
    open_stance,
    rests_on_the_user,
    says_something,
)
from personamem_pipeline.training.targets import deciding_line
from tests.rooms import rooms
from tests.training.conftest import question

WORTH: dict[DistractorKind, float] = {
    "stereotypical": -0.5, "generic": 0.2, "helpless": 0.2, "other": 0.0, "previous": 0.0, "forgotten": 0.0,
    "others": 0.0, "leak": 0.0, "wrong": 0.0,
}  # fmt: skip


def of_kinds(*kinds: DistractorKind) -> Question:
    return question(0).model_copy(update={"incorrect_kinds": kinds})


@pytest.mark.parametrize("kind", DistractorKind.__args__)  # type: ignore[attr-defined]
@pytest.mark.parametrize("order", range(4))
def test_an_option_is_worth_what_its_kind_is(kind: DistractorKind, order: int) -> None:
    asked = of_kinds("other", kind, "other")
    options, letter = lettered(asked, 0, order)
    stated = next(key for key, text in options.items() if text == asked.incorrect_answers[1])
    assert choice_stance(boxed(stated), asked, options, letter) == WORTH[kind]
    assert choice_stance(boxed(letter), asked, options, letter) == 1.0


@given(text=st.text(), order=st.integers(0, 23))
def test_nothing_stated_never_pays_more_than_the_worst_option(text: str, order: int) -> None:
    asked = of_kinds("stereotypical", "other", "generic")
    options, letter = lettered(asked, 0, order)
    worst = min(choice_stance(boxed(key), asked, options, letter) for key in options)
    assert worst <= choice_stance(text, asked, options, letter) <= 1
    assert choice_stance("", asked, options, letter) == choice_stance("I'd say a.", asked, options, letter) == worst


def test_a_verdict_is_worth_its_figure_and_no_verdict_is_none() -> None:
    stances = ("uses_preference", "generic", "demographic_guess")
    assert [open_stance(Stance(stance=stance, reason="")) for stance in stances] == [1.0, 0.2, -0.5]
    assert open_stance(Refused("row", "no JSON")) is None


def test_it_applies_where_a_preference_of_the_users_decides() -> None:
    questions = rooms().questions
    assert {rests_on_the_user(asked) for asked in questions} == {True, False}
    for asked in questions:
        assert rests_on_the_user(asked) == (deciding_line(asked, "") != "none")


def test_a_quoted_line_alone_says_nothing() -> None:
    assert says_something("- drinks: tea\nTry tea.")
    assert not says_something("- drinks: tea")
    assert not says_something("<think>Try\ntea.")
