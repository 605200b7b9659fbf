"""Finding snippets in histories, from word by word to parts."""

from __future__ import annotations

import pytest

from personamem_pipeline.questions.released_evidence import locate
from personamem_pipeline.records import Message
from tests.questions.released_files import Turn, turn

LONG = "I told the neighbours about the green tea that I brew at six every day."


def chat(*turns: Turn) -> list[Message]:
    return [
        Message(turn_id=f"m{index}", role=item["role"], content=item["content"]) for index, item in enumerate(turns)
    ]


HELLO, HI = turn("user", "Hello"), turn("assistant", "Hi")
HISTORY = chat(HELLO, HI, turn("user", LONG), HI, HELLO, HI, turn("user", "Bye\n\nnow"), HI)


@pytest.mark.parametrize(
    ("turns", "how", "places"),
    [
        ([("user", LONG), ("assistant", "Hi"), ("user", "Hello")], "exact", (2, 3, 4)),
        ([("user", "Hello"), ("assistant", "Hi")], "exact", (0, 1)),  # of several, the first
        ([("", "Bye\n\nnow")], "exact", (6,)),
        ([("user", " Bye now "), ("assistant", "Hi")], "normalised", (6, 7)),
        ([("user", "Hello"), ("user", LONG), ("user", "Bye now")], "scattered", (0, 2, 6)),
        ([("user", LONG + " And more."), ("assistant", "Never said")], "partial", (2,)),
        ([("", f"User: {LONG}\nAssistant: Hi")], "partial", (2,)),
        ([("user", LONG), ("user", "Never said")], "partial", (2,)),
        ([("assistant", LONG)], "none", ()),  # somebody else said it
        ([("user", "Never said")], "none", ()),
        ([("user", "Bye now"), ("user", LONG)], "partial", (2,)),  # not in this order
        ([("user", "  ")], "none", ()),
        ([], "none", ()),
    ],
)
def test_where_a_snippet_is(turns: list[tuple[str, str]], how: str, places: tuple[int, ...]) -> None:
    found = locate(turns, HISTORY)
    assert (found.how, found.places) == (how, places)


def test_of_equal_places_the_one_at_the_released_distance() -> None:
    hello = [("user", "Hello"), ("assistant", "Hi")]
    assert locate(hello, HISTORY, lambda place: abs(place - 5)).places == (4, 5)
    assert locate([*hello, ("user", "Bye now")], HISTORY, lambda place: abs(place - 5)).places == (4, 5, 6)


def test_nothing_is_found_in_nothing() -> None:
    assert locate([("user", LONG)], []).how == "none"
