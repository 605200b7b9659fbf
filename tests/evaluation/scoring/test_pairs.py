from __future__ import annotations

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.scoring.pairs import compare, leak_sizes, paired_tests, pairs, power, type_tests
from tests.evaluation.scoring.made import BOUNDS, marks, row, rows, run

SIX = ("11", "10", "11", "01", "11", "11")


def test_the_pairs_follow_from_the_systems() -> None:
    systems = {
        "base": run([], "base"), "sft": run([], "sft"), "grpo": run([], "grpo"),
        "oracle": run([], "oracle", role="control", reading="oracle"), "bm25": run([], "bm25", role="baseline"),
        "theirs": run([], "theirs", role="external"), "longest": run([], "longest", role="guesser"),
    }  # fmt: skip
    assert pairs(systems) == [
        ("grpo", "sft"), ("sft", "base"), ("grpo", "base"), ("grpo", "bm25"), ("grpo", "theirs"), ("oracle", "grpo"),
    ]  # fmt: skip
    assert pairs({"bm25": systems["bm25"], "mine": run([], "mine")}) == [("mine", "bm25")]
    assert pairs({"bm25": systems["bm25"]}) == []


def test_a_paired_test_by_hand() -> None:
    found = compare(rows(marks(*SIX), "a"), rows(marks("10", "10", "10", "00", "10", "10"), "b"), **BOUNDS)
    assert (found["a"], found["b"], found["n"], found["clusters"]) == ("a", "b", 12, 6)
    assert found["difference"] == pytest.approx(5 / 12)
    # Five persons gained one answer each: of 2^5 sign patterns two are as extreme.
    assert found["exact"] and found["p"] == 2 / 2**5 == found["mcnemar_p"]
    assert found["low"] > 0


def test_all_tests_of_a_report_are_corrected() -> None:
    sides = {"x": rows(marks(*SIX), "x"), "y": rows(marks(*["00"] * 6), "y"), "z": rows(marks(*["10"] * 6), "z")}
    found = paired_tests([("x", "y"), ("x", "z"), ("y", "z")], sides, **BOUNDS)
    ps = [r["p"] for r in found]
    assert ps[0] == ps[2] == 2 / 2**6 < ps[1]
    assert found[0]["p_corrected"] == pytest.approx(3 * ps[0])
    assert found[1]["p_corrected"] == pytest.approx(ps[1])


def test_one_person_is_compared_without_an_interval_or_p() -> None:
    (found,) = paired_tests([("x", "y")], {"x": rows(marks("11"), "x"), "y": rows(marks("10"), "y")}, **BOUNDS)
    assert found["difference"] == 0.5
    assert {found[name] for name in ("low", "high", "p", "p_corrected", "mcnemar_p")} == {None}


def test_answers_to_other_questions_cannot_be_compared() -> None:
    with pytest.raises(UserError, match="not to the same questions"):
        compare(rows([row("q1", "p1", "a")]), rows([row("q2", "p1", "a")]), **BOUNDS)


def test_types_are_tested_apart_and_corrected() -> None:
    def side(name: str, *own: str):  # type: ignore[no-untyped-def]
        kinds = ("therapy_background", "sensitive_info")
        answers = [a.model_copy(update={"pref_type": kinds[at % 2]}) for at, a in enumerate(marks(*own))]
        return rows(answers, name)

    found = type_tests(side("a", *["11"] * 6), side("b", *["01"] * 6), **BOUNDS)
    assert [(r["value"], r["difference"], r["p"]) for r in found] == [
        ("sensitive_info", 0.0, 1.0), ("therapy_background", 1.0, 2 / 2**6),
    ]  # fmt: skip
    assert found[1]["p_corrected"] == 2 * 2 / 2**6


def test_power_shrinks_with_the_root_of_the_persons() -> None:
    found = power(rows(marks(*SIX), "a"), rows(marks(*["10"] * 6), "b"))
    assert found is not None and found["persons"] == 6
    assert found["detectable_points"] == 100 * found["difference"] > 0
    sizes = {r["persons"]: r["detectable_points"] for r in found["by_persons"]}
    assert sizes[200] / sizes[50] == pytest.approx(0.5, rel=0.03)
    assert power(rows(marks("11"), "a"), rows(marks("10"), "b")) is None
    assert power(rows(marks(*SIX), "a"), rows(marks(*SIX), "b")) is None


def test_the_leak_is_measured_against_the_same_prompt_without_the_question() -> None:
    caps = {"memory_cap": 80, "chunk_tokens": 40}
    systems = {
        "sft": run([], "sft", model="sft"), "grpo": run([], "grpo"),
        "aware": run([], "aware", reading="query_aware", role="control", **caps),
        "larger": run([], "larger", reading="query_blind", role="control", memory_cap=160, chunk_tokens=40),
        "blind": run([], "blind", reading="query_blind", role="control", **caps),
    }  # fmt: skip
    right = {"sft": "00", "grpo": "11", "aware": "11", "larger": "11", "blind": "10"}
    sides = {name: rows(marks(*[own] * 6), name) for name, own in right.items()}
    (found,) = leak_sizes(systems, sides, **BOUNDS)
    assert (found["against"], found["same_prompt"], found["new_prompt"]) == ("blind", True, True)
    assert (found["blind"], found["aware"], found["own"], found["difference"]) == (0.5, 1.0, 1.0, 0.5)
    assert found["p"] == 2 / 2**6
    del systems["blind"]
    (found,) = leak_sizes(systems, sides, **BOUNDS)
    assert (found["against"], found["same_prompt"], found["difference"]) == ("grpo", False, 0.0)
    del systems["grpo"]
    assert leak_sizes(systems, sides, **BOUNDS) == []


def test_the_leak_is_measured_of_every_model_that_sees_the_question() -> None:
    systems = {
        name: run([], name, model=model, reading=reading, role="control")
        for model in ("grpo", "models/large")
        for reading in ("query_aware", "query_blind")
        for name in [f"{reading} {model}"]
    }
    sides = {name: rows(marks(*["10" if "blind" in name else "11"] * 6), name) for name in systems}
    found = leak_sizes(systems, sides, **BOUNDS)
    assert [(row["system"], row["against"], row["new_prompt"], row["own"]) for row in found] == [
        ("query_aware grpo", "query_blind grpo", True, None),
        ("query_aware models/large", "query_blind models/large", False, None),
    ]
