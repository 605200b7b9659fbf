from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.evaluation.records import Answer
from personamem_pipeline.evaluation.scoring.forget import forget, forget_rows
from tests.evaluation.scoring.made import row, run

FORGET = {"pref_type": "ask_to_forget"}


def pair(question: str, person: str, before: bool | None, after: bool) -> list[Answer]:
    rows = [row(question, person, "a" if after else "b", **FORGET)]
    if before is not None:
        rows.append(row(question, person, "c" if before else "d", right="c", moment="before_forget", **FORGET))
    return rows


def test_a_pair_is_known_before_and_not_used_after() -> None:
    answers = [
        *pair("q1", "p1", True, True),
        *pair("q2", "p1", True, False),
        *pair("q3", "p2", False, True),
        *pair("q4", "p2", False, True),
        *pair("q5", "p2", None, True),
        row("q6", "p2", "a"),
    ]
    found = forget(run(answers))
    assert found is not None
    assert (found["asked"], found["pairs"], found["not_measurable"]) == (5, 4, 1)
    assert (found["recalled_before"], found["forgotten_after"], found["both"]) == (2 / 4, 3 / 4, 1 / 4)
    assert found["dropped"] == 1 / 2
    assert found["low"] < 1 / 4 < found["high"]


def test_never_having_known_is_not_forgetting() -> None:
    found = forget(run([*pair("q1", "p1", False, True), *pair("q2", "p2", False, True)]))
    assert found is not None
    assert (found["forgotten_after"], found["both"], found["dropped"]) == (1.0, 0.0, None)


def test_what_cannot_be_measured_is_not_known() -> None:
    never_asked = pair("q1", "p1", None, True)
    found = forget(run(never_asked))
    assert found is not None and found["pairs"] == 0 and found["not_measurable"] == 1
    assert {found[name] for name in ("recalled_before", "forgotten_after", "both", "low", "high", "dropped")} == {None}
    assert forget(run(never_asked, role="guesser")) is None
    assert forget(run([row("q1", "p1", "a")])) is None


@given(st.lists(st.tuples(st.sampled_from([None, True, False]), st.booleans()), min_size=1, max_size=20))
def test_both_is_at_most_either(items: list[tuple[bool | None, bool]]) -> None:
    found = forget(run([a for at, (b, e) in enumerate(items) for a in pair(f"q{at}", f"p{at % 4}", b, e)]))
    assert found is not None
    assert found["pairs"] + found["not_measurable"] == found["asked"] == len(items)
    if found["pairs"]:
        assert found["recalled_before"] + found["forgotten_after"] - 1 - 1e-9 <= found["both"]
        assert found["both"] <= min(found["recalled_before"], found["forgotten_after"])


def test_systems_are_compared_on_the_pairs_that_all_of_them_have() -> None:
    wide = run([*pair("q1", "p1", True, True), *pair("q2", "p2", False, True)], name="wide")
    narrow = run([*pair("q1", "p1", True, True), *pair("q2", "p2", None, True)], name="narrow")
    first, second = forget_rows([wide, narrow])
    assert (first["both"], first["pairs"], second["both"], second["pairs"]) == (0.5, 2, 1.0, 1)
    assert (first["in_common"], first["both_in_common"], second["both_in_common"]) == (1, 1.0, 1.0)
    assert forget_rows([]) == []
