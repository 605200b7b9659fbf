"""Guessers by shape score what an average draw among what they cannot tell apart would."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.questions.shape import GUESSERS, guess_score, longest, plain_guess, shortest
from personamem_pipeline.records import DistractorKind, QuestionType, Who
from tests.questions.test_options import question

OPTIONS = st.lists(st.text("abc -", min_size=1, max_size=12), min_size=4, max_size=4)


@given(OPTIONS, st.sampled_from(sorted(GUESSERS)))
def test_whichever_option_is_right_the_scores_add_up_to_one(options: list[str], name: str) -> None:
    guesser = GUESSERS[name]
    total = sum(guess_score(guesser, [options[i], *options[:i], *options[i + 1 :]]) for i in range(4))
    assert total == pytest.approx(1.0)


@given(OPTIONS, st.sampled_from(sorted(GUESSERS)), st.sampled_from(list(permutations(range(1, 4)))))
def test_the_order_of_the_wrong_options_does_not_matter(options: list[str], name: str, order: tuple[int, ...]) -> None:
    moved = [options[0], *(options[i] for i in order)]
    assert guess_score(GUESSERS[name], moved) == guess_score(GUESSERS[name], options)


@given(st.text("ab ", min_size=1, max_size=9), st.sampled_from(sorted(GUESSERS)))
def test_four_equal_options_are_a_blind_draw(text: str, name: str) -> None:
    assert guess_score(GUESSERS[name], [text] * 4) == 0.25


@pytest.mark.parametrize(
    ("options", "right_is_longest", "right_is_shortest"),
    [
        (["aaa", "bb", "cc", "dd"], 1.0, 0.0),
        (["a", "bb", "cc", "dd"], 0.0, 1.0),
        (["aa", "bb", "c", "ddd"], 0.0, 0.0),
        (["aa", "bb", "c", "d"], 0.5, 0.0),
        (["a", "b", "c", "dd"], 0.0, pytest.approx(1 / 3)),
    ],
)
def test_by_length(options: list[str], right_is_longest: float, right_is_shortest: float) -> None:
    assert (guess_score(longest, options), guess_score(shortest, options)) == (right_is_longest, right_is_shortest)


@pytest.mark.parametrize(
    ("name", "expected"), [("odd_one_out", [1]), ("most_alike", [0, 2, 3]), ("most_specific", [1])]
)
def test_by_words(name: str, expected: list[int]) -> None:
    options = ["try green tea", "Sorry, that is hard", "try lemon tea", "try black tea"]
    assert GUESSERS[name](options) == expected


def test_one_long_option_is_not_odd_for_its_length() -> None:
    options = ["try green tea", "try a very strong coffee", "try cold milk", "try fresh juice"]
    assert GUESSERS["odd_one_out"](options) == GUESSERS["most_alike"](options) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("pref_type", "who", "kinds", "score"),
    [
        ("neutral_preferences", "self", ("other", "stereotypical", "generic"), 0.0),
        ("ask_to_forget", "self", ("forgotten", "other", "other"), 1.0),
        ("neutral_preferences", "others", ("others", "other", "generic"), 0.5),
        ("sensitive_info", "self", ("leak", "wrong", "helpless"), None),
        ("ask_to_forget", "self", ("other", "other", "other"), None),
    ],
)
def test_always_plain(
    pref_type: QuestionType, who: Who, kinds: tuple[DistractorKind, DistractorKind, DistractorKind], score: float | None
) -> None:
    row = question("q").model_copy(update={"pref_type": pref_type, "who": who, "incorrect_kinds": kinds})
    assert plain_guess(row.incorrect_kinds) == score
