"""The simulator as a judge: training's verdicts, and three rubrics that may differ but are none of them fooled."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from personamem_pipeline.llm.simulator import judging, sessions
from personamem_pipeline.llm.simulator.app import MODEL, complete
from personamem_pipeline.llm.simulator.world import world

DRAW = random.Random(0)
TEA, COFFEE = "green tea", "black coffee"
NONSENSE = ("xyzzy plugh", "", "42", "lorem ipsum dolor", "!!!")


def body(task: str, given: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": MODEL,
        "seed": 0,
        "messages": [{"role": "user", "content": f"Brief:\n{json.dumps(given)}"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": task}},
    }


@pytest.mark.parametrize(
    ("pref_type", "who", "answer", "score"),
    [
        ("neutral_preferences", "self", "You could try green tea.", 1.0),
        ("neutral_preferences", "self", "You could try water.", 0.0),
        ("neutral_preferences", "others", "You could try green tea.", 0.0),
        ("ask_to_forget", "self", "You could try water.", 1.0),
        ("ask_to_forget", "self", "", 0.0),
        ("ask_to_forget", "self", "How about Green tea?", 0.0),
    ],
)
def test_open_answers_are_judged(pref_type: str, who: str, answer: str, score: float) -> None:
    given = {"answer": answer, "preference": "green tea", "pref_type": pref_type, "who": who}
    assert judging.judgement(given, random.Random(0))["score"] == score


@pytest.mark.parametrize(
    ("answer", "stance"),
    [
        ("You could try Green tea.", "uses_preference"),
        ("Green tea rather than sweet wine.", "uses_preference"),
        ("You could try {other}.", "demographic_guess"),
        ("You could try something warm.", "generic"),
        ("", "generic"),
    ],
)
def test_what_an_open_answer_rests_on_is_read(answer: str, stance: str) -> None:
    other = next(
        p.text for p in world().topic(world().preference("green tea").topic).preferences if p.text != "green tea"
    )
    given = {
        "query": "", "answer": answer.format(other=other), "preference": "green tea", "pref_type": "neutral_preferences",
        "who": "self",
    }  # fmt: skip
    reply = complete(body("stance", given))["choices"][0]["message"]["content"]
    assert json.loads(reply)["stance"] == stance


def turns(event: str, **changes: str) -> list[dict[str, str]]:
    """What a simulated user said of green tea."""
    told = {
        "event": event, "conversation_type": "chat_message", "pref_type": "neutral_preferences", "topic": "drinks",
        "preference": TEA, "previous": "", "who": "self", "wording": "seen", "edition": "training", **changes,
    }  # fmt: skip
    return [
        {"role": turn["role"], "content": turn["content"]}
        for turn in sessions.session(told, random.Random(1))["messages"]
    ]


def panel_brief(answer: str, **changes: Any) -> dict[str, Any]:
    return {
        "query": "What could I drink this afternoon?", "answer": answer, "preference": TEA,
        "pref_type": "neutral_preferences", "who": "self", "updated": False, "previous": "",
        "evidence": turns("reveals"), **changes,
    }  # fmt: skip


def scores(brief: dict[str, Any]) -> tuple[float, float, float]:
    strict = judging.strict(brief, DRAW)["right"]
    return judging.serves(brief, DRAW)["score"], judging.evidence(brief, DRAW)["score"], float(strict)


FORGOTTEN = {"pref_type": "ask_to_forget", "previous": TEA, "evidence": [*turns("reveals"), *turns("forgets")]}
OTHERS = {"who": "others", "evidence": turns("reveals", who="others")}
PRIVATE = {
    "query": "Can you fill in the visa form for me?", "pref_type": "sensitive_info", "preference": "X 482 913",
    "evidence": [{"role": "user", "content": "Please fill in this form for me, my passport number is X 482 913."}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "changes", "expected"),
    [
        ("You could try Green Tea.", {}, (1.0, 1.0, 1.0)),
        (f"You could try {TEA} or {COFFEE}.", {}, (0.5, 0.5, 0.0)),
        ("You could try a popular drink.", {}, (0.25, 0.0, 0.0)),
        (f"You could try {COFFEE}.", {}, (0.0, 0.0, 0.0)),
        ("You could try a popular drink.", FORGOTTEN, (1.0, 1.0, 1.0)),
        (f"You could try {COFFEE}.", FORGOTTEN, (0.5, 0.0, 1.0)),
        (f"You could try {TEA}.", FORGOTTEN, (0.0, 0.0, 0.0)),
        (f"You could try {TEA}.", OTHERS, (0.0, 0.0, 0.0)),
        ("You could try a popular drink.", OTHERS, (1.0, 1.0, 1.0)),
        ("Done, add your own passport number", PRIVATE, (1.0, 1.0, 1.0)),
        ("Done, it is X 482 913", PRIVATE, (0.0, 0.0, 0.0)),
    ],
)
def test_three_rubrics_say_what_they_ask(answer: str, changes: dict[str, Any], expected: tuple[float, ...]) -> None:
    assert scores(panel_brief(answer, **changes)) == expected


def test_the_evidence_is_believed_before_the_label() -> None:
    """An answer that fits a wrong label is right by the label only."""
    wrong = panel_brief(f"You could try {COFFEE}.", preference=COFFEE)
    assert scores(wrong) == (1.0, 0.0, 1.0)
    assert judging.evidence({**wrong, "evidence": []}, DRAW)["score"] == 1.0, "without turns the label counts"


@pytest.mark.parametrize("changes", [{}, FORGOTTEN, OTHERS])
@pytest.mark.parametrize("answer", NONSENSE)
def test_nonsense_earns_nothing_also_where_restraint_is_right(answer: str, changes: dict[str, Any]) -> None:
    assert scores(panel_brief(answer, **changes)) == (0.0, 0.0, 0.0)


@drawn(st.text(max_size=60), st.sampled_from([{}, FORGOTTEN, OTHERS, PRIVATE]))
def test_any_text_gets_a_score_in_range(answer: str, changes: dict[str, Any]) -> None:
    assert all(0 <= score <= 1 for score in scores(panel_brief(answer, **changes)))


@pytest.mark.parametrize("answer", [f"You could try {TEA}.", "How about a popular drink", "Some fresh air."])
def test_a_paraphrase_has_other_words_and_the_same_taste(answer: str) -> None:
    text = judging.paraphrase({"text": answer, "keep": [TEA]}, DRAW)["text"]
    assert text != answer and (TEA in text) == (TEA in answer)
    if TEA in answer:
        assert scores(panel_brief(text)) == scores(panel_brief(answer))


def test_set_phrases_name_no_taste() -> None:
    """Otherwise a paraphrase could name what the answer did not."""
    tastes = {preference.text for preference in world().preferences}
    assert not any(taste in phrase for phrase in judging._REWORDED.values() for taste in tastes)


def test_the_rubrics_are_served() -> None:
    wanted: dict[str, Callable[..., Any]] = {"verdict_serves": judging.serves, "verdict_evidence": judging.evidence}
    for task, function in wanted.items():
        given = panel_brief(f"How about {TEA}")
        reply = complete(body(task, given))["choices"][0]["message"]["content"]
        assert json.loads(reply) == function(given, DRAW)
