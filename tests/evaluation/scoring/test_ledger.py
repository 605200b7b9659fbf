from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.evaluation.scoring.ledger import break_even, ledger, memory_sizes
from personamem_pipeline.presets import PricesConfig
from tests.evaluation.scoring.made import row, run, step

ANSWERS = [row(f"p{p}.q{q}", f"p{p}", "a", order=order) for p in range(2) for q in range(4) for order in range(2)]


def test_writing_is_spread_over_questions_not_option_orders() -> None:
    steps = [step("p0", 0), step("p0", 1, kept="unfinished"), step("p1", 0)]
    before = row("p0.q0", "p0", "a", moment="before_forget", input_tokens=9999)
    (found,) = ledger({"s": run([*ANSWERS, before], steps=steps)}, None)
    assert (found["people"], found["write_turns"], found["kept"]) == (2, 3, {"unfinished": 1})
    assert (found["write_input_tokens"], found["write_output_tokens"]) == (300, 60)
    assert found["write_tokens_per_person"] == 180
    assert (found["read_input_tokens_per_question"], found["read_output_tokens_per_question"]) == (10, 2)
    assert found["tokens_per_question"] == 360 / 8 + 12
    assert found["write_share"] == 45 / 57
    assert found["dollars_per_question"] is None and found["break_even_questions"] is None


def test_dollars_count_the_writing_too() -> None:
    (found,) = ledger({"s": run(ANSWERS, steps=[step("p0", 0)])}, PricesConfig(input=2, output=8))
    assert found["dollars_per_question"] == pytest.approx(((100 / 8 + 10) * 2 + (20 / 8 + 2) * 8) / 1e6)


def test_break_even_of_a_32k_history() -> None:
    """anchors.md F3: 7 writes read 45,750 tokens, an answer then 2,300 instead of 32,300; 0.67 of the cost at one question
    turns to 1.28 at two."""
    assert break_even(45_750, 2_300, 32_300) == 2
    assert break_even(60_000, 2_300, 32_300) == 3  # at two questions both cost the same
    assert break_even(0, 2_300, 32_300) == 1
    assert break_even(1, 32_300, 32_300) is None


@given(st.integers(0, 10**6), st.integers(1, 10**4), st.integers(1, 10**5))
def test_break_even_is_the_first_cheaper_number_of_questions(write: int, read: int, full: int) -> None:
    found = break_even(write, read, full)
    if found is None:
        assert read >= full
    else:
        assert write + found * read < found * full
        assert found == 1 or write + (found - 1) * read >= (found - 1) * full


def test_break_even_is_against_the_same_models_full_context() -> None:
    whole = [answer.model_copy(update={"input_tokens": 58}) for answer in ANSWERS]
    steps = [step("p0", 0), step("p1", 0)]
    found = ledger(
        {
            "grpo": run(ANSWERS, "grpo", steps=steps),
            "sft": run(ANSWERS, "sft", steps=steps, model="sft"),
            "full_context": run(whole, "full_context", reading="full_context", role="baseline"),
            "no_history": run(ANSWERS, "no_history", reading="no_history", role="control"),
            "query_aware": run(ANSWERS, "query_aware", reading="query_aware", role="control", steps=steps),
        },
        None,
    )
    # 120 tokens a person to write, 12 against 60 to read: 120 / 48 = 2.5. Writing anew for each question: 42 < 60.
    assert {r["system"]: r["break_even_questions"] for r in found} == {
        "grpo": 3, "sft": None, "full_context": None, "no_history": 1, "query_aware": 1,
    }  # fmt: skip


def test_what_was_never_sent_does_not_make_a_system_cheap() -> None:
    answers = [row("q1", "p", "a"), row("q2", "p", None, problem="over_long", input_tokens=0, output_tokens=0)]
    (found,) = ledger({"s": run(answers)}, None)
    assert found["tokens_per_question"] == 12


def test_unknown_costs_are_left_out() -> None:
    free = [answer.model_copy(update={"input_tokens": 0, "output_tokens": 0}) for answer in ANSWERS]
    assert ledger({"guesser": run(free), "swapped": run(ANSWERS, reading="swapped_history")}, None) == []
    over = [row("q1", "p", None, problem="over_long", input_tokens=0, output_tokens=0)]
    assert ledger({"s": run(over)}, None) == []


def test_sizes_are_of_the_memories_at_the_end() -> None:
    steps = [step("p0", 1, memory_tokens=96), step("p0", 0, memory_tokens=100), step("p1", 0, memory_tokens=30)]
    assert memory_sizes(steps, 100) == {
        "cap": 100, "quantiles": {"0": 30, "25": 30, "50": 30, "75": 96, "100": 96}, "at_cap_share": 0.5,
    }  # fmt: skip
    unbounded = memory_sizes(steps, None)
    assert unbounded is not None and unbounded["at_cap_share"] is None
    assert memory_sizes([], 100) is None
