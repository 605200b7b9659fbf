from __future__ import annotations

from typing import Any

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation import score
from personamem_pipeline.evaluation.records import Answer, MemoryStep, OpenAnswer

BASE = {
    "pref_type": "neutral_preferences", "who": "self", "updated": False, "wording": "seen",
    "conversation_scenario": "translation", "topic": "t", "system": "s", "output": "", "input_tokens": 10,
    "output_tokens": 2,
}  # fmt: skip
BOUNDS: dict[str, Any] = {"resamples": 300, "seed": 0}


def row(question: str, person: str, picked: str | None, right: str = "a", order: int = 0, **more: object) -> Answer:
    values = {"question_id": question, "person_id": person, "picked": picked, "right": right, "order": order}
    return Answer.model_validate({**BASE, **values, "correct": picked == right, **more})


def step(subject: str, index: int, kept: str = "") -> MemoryStep:
    return MemoryStep(
        subject=subject, index=index, messages=(), memory="m", kept=kept, input_tokens=100, output_tokens=20
    )


def test_headline_figures_by_hand() -> None:
    answers = [
        row("q1", "p1", "a"),
        row("q1", "p1", "b", right="b", order=1),
        row("q2", "p1", "a"),
        row("q2", "p1", None, right="b", order=1),
        row("q3", "p2", "c"),
        row("q3", "p2", "a", right="b", order=1),
    ]
    summary = score.summarize(answers, label="x", role="model", **BOUNDS)
    assert summary.accuracy == 3 / 6
    assert (summary.n, summary.questions, summary.persons, summary.unparseable) == (6, 3, 2, 1)
    assert summary.right_in_every_order == 1 / 3
    assert summary.letters_picked == {"a": 3 / 5, "b": 1 / 5, "c": 1 / 5}
    assert summary.letters_accuracy == {"a": 2 / 3, "b": 1 / 3}


def test_slices_and_gap() -> None:
    answers = [
        row("q1", "p1", "a", pref_type="stereotypical_pref"),
        row("q2", "p1", "b", pref_type="anti_stereotypical_pref", wording="unseen", updated=True),
        row("q3", "p2", "a", pref_type="stereotypical_pref", who="others"),
        row("q4", "p2", "a", pref_type="anti_stereotypical_pref"),
    ]
    found = score.slices(answers, **BOUNDS)
    assert {r["value"]: r["accuracy"] for r in found["type"]} == {
        "stereotypical_pref": 1.0,
        "anti_stereotypical_pref": 0.5,
    }
    assert {r["value"]: (r["accuracy"], r["n"]) for r in found["wording"]} == {"seen": (1.0, 3), "unseen": (0.0, 1)}
    assert {r["value"]: r["low"] for r in found["updated"]}["updated"] is None
    gap = score.stereotype_gap(answers, **BOUNDS)
    assert (gap["stereotypical"], gap["anti_stereotypical"], gap["gap"]) == (1.0, 0.5, 0.5)
    assert score.stereotype_gap(answers[:1], **BOUNDS) is None


def test_ledger_spreads_the_writing_over_questions_not_option_orders() -> None:
    answers = [row(f"q{q}", "p1", "a", order=order) for q in range(4) for order in range(2)]
    found = score.ledger(answers, [step("p1", 0), step("p1", 1, kept="unfinished")])
    assert found["write_tokens_per_question"] == 240 / 4
    assert found["tokens_per_question"] == 60 + 12
    assert found["turns_that_kept_the_old_memory"] == {"unfinished": 1}


def test_missing_verdicts_are_bounded_not_zero() -> None:
    labels = {key: BASE[key] for key in BASE if key != "output"}
    scores = [("p1", 1.0), ("p1", 0.5), ("p2", None), ("p2", 1.0)]
    answers = [
        OpenAnswer.model_validate(
            {
                **labels,
                "question_id": f"q{i}",
                "person_id": person,
                "answer": "",
                "score": value,
                "judge": "j",
                "reason": "",
            }
        )
        for i, (person, value) in enumerate(scores)
    ]
    found = score.open_scores(answers, **BOUNDS)
    assert found["mean"] == pytest.approx(2.5 / 3)
    assert (found["missing"], found["lowest"], found["highest"]) == (1, 2.5 / 4, 3.5 / 4)
    nothing = score.open_scores([answers[2]], **BOUNDS)
    assert (nothing["mean"], nothing["lowest"], nothing["highest"]) == (None, 0.0, 1.0)


def test_answers_to_other_questions_cannot_be_compared() -> None:
    with pytest.raises(UserError, match="not to the same questions"):
        score.compare([row("q1", "p1", "a")], [row("q2", "p1", "a")], **BOUNDS)


def test_no_answers_is_an_error_not_a_zero() -> None:
    with pytest.raises(UserError, match="without answers"):
        score.summarize([], label="x", role="model", **BOUNDS)
