from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.evaluation.scoring.parsing import lenient, strict

OPTIONS = {
    "a": "You could try green tea.",
    "b": "You could try slow hiking in the hills.",
    "c": "You could try old maps.",
    "d": "You could try something new.",
}


@pytest.mark.parametrize(
    ("output", "letter"),
    [
        ("Final Answer: B", "b"),
        ("**Final Answer:** (b)", "b"),
        ("I think the answer is b, because of the hills", "b"),
        ('{"answer": "c", "reason": "maps"}', "c"),
        ("{'answer': 'c'}", "c"),
        ("So I choose option D.", "d"),
        ("I would go with A here", "a"),
        (r"\boxed{\text{c}}", "c"),
        (r"\boxed{C) old maps}", "c"),
        ("- music: jazz\nThe best is (c), I am sure", "c"),
        ("b) You could try slow hiking", "b"),
        ("Option b suits this user", "b"),
        ("Well, You could try  old maps!\nHave fun.", "c"),
        ("Perhaps slow hiking in the hills would be nice for you", "b"),
        ("It must be\nB", "b"),
        ("It must be B.", "b"),
        ("d", "d"),
        ("<think>the answer is a</think>\nAnswer: d", "d"),
        # A letter that is stated goes before others that are mentioned on the way.
        ("(a) knows nothing and (c) is wrong. The answer is (b).", "b"),
    ],
)
def test_what_others_accept(output: str, letter: str) -> None:
    assert strict(output, OPTIONS) is None
    assert lenient(output, OPTIONS) == letter


@pytest.mark.parametrize(
    "output",
    [
        "",
        "I do not know",
        "The answer is a matter of taste",
        "Final Answer: B\nFinal Answer: C",
        "(a) or (b), who knows",
        "(a) You could try green tea. (b) You could try slow hiking in the hills.",
        "green tea or old maps",
        "B\nor C",
        "I would not pick b",
        "the answer is beyond me",
        "Answer: e",
        "<think>the answer is b",
        "vitamin d",
        "a cup of tea",
    ],
)
def test_nothing_is_picked_where_letters_compete_or_none_is_said(output: str) -> None:
    assert lenient(output, OPTIONS) is None


def test_an_option_inside_a_longer_quoted_one_is_not_quoted() -> None:
    options = {"a": "Buy green tea", "b": "Buy green tea with milk", "c": "Buy hot cocoa", "d": "Buy a book"}
    assert lenient("She said: green tea with milk, please", options) == "b"
    assert lenient("She said: green tea, please", options) == "a"
    assert lenient("She said: green tea, or green tea with milk", options) is None


TEXT = st.lists(
    st.sampled_from(
        ["(a)", "(b)", "answer is", "Answer:", "B", "c", "\n", "\\boxed{d}", "\\boxed{a}", "green tea", "old maps.",
         "option", "I", "<think>", "</think>", "choose", *OPTIONS.values()]
    ),
    max_size=9,
).map(" ".join)  # fmt: skip


@given(TEXT)
def test_what_is_read_strictly_is_read_the_same_leniently(output: str) -> None:
    read = strict(output, OPTIONS)
    assert lenient(output, OPTIONS) in ({read} if read else {None, *OPTIONS})


FORMS = ("({})", "the answer is {}", "Answer: {}", "\n{}\n", r"\boxed{{{}}}", "option {}", "and")
SWAP = {"b": "d", "c": "c", "d": "b"}


@given(st.lists(st.tuples(st.sampled_from(FORMS), st.sampled_from("bcd")), max_size=6))
def test_no_letter_is_favoured(pieces: list[tuple[str, str]]) -> None:
    """Swapping b and d in the reply and in the options swaps what is picked."""
    said, swapped = (
        " ".join(form.format(names[at]) for form, at in pieces) for names in ({at: at for at in "bcd"}, SWAP)
    )
    options = {"a": OPTIONS["a"], "b": OPTIONS["d"], "c": OPTIONS["c"], "d": OPTIONS["b"]}
    picked = lenient(said, OPTIONS)
    assert lenient(swapped, options) == (SWAP[picked] if picked else None)
