"""The panel: what judges are told, what their failures become, and that nothing is asked twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.judging.briefs import brief, evidence_of
from personamem_pipeline.evaluation.judging.panel import Panel, RubricJudge
from personamem_pipeline.evaluation.judging.prompts import PARAPHRASE, RUBRICS, Decided, Graded, prompt_texts, versions
from personamem_pipeline.evaluation.records import OpenAnswer
from personamem_pipeline.llm.client import Endpoint
from personamem_pipeline.presets.evaluation import JudgeConfig
from personamem_pipeline.records import Message, Question
from personamem_pipeline.settings import Settings
from tests.evaluation.judging.cases import Scripted, answer, evidence, histories, message, question, questions
from tests.llm.faults import KEY, Reply, completion, server

PROMPTS = tuple(RUBRICS)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=12, max_size=40)


def simulated(*prompts: str, cache: Path | None = None) -> Panel:
    endpoint = Endpoint(None, "simulator/1", None, cache=cache)
    return Panel(tuple(RubricJudge(endpoint, RUBRICS[prompt], 0) for prompt in prompts), 0, endpoint)


def told(panel: Panel, rows: list[OpenAnswer], asked: list[Question]) -> list[OpenAnswer]:
    return panel.judge(rows, asked, evidence(asked))


def settings(**changes: Any) -> Settings:
    values = {"home": Path("/nowhere"), "preset": "demo", "llm_base_url": None, "llm_model": "simulator/1"}
    return Settings(**{**values, "llm_api_key": None, "mlflow_uri": "", "seed": None, "llm_cache": False, **changes})


@given(st.lists(TEXTS, min_size=4, max_size=4, unique=True), TEXTS, TEXTS)
def test_no_judge_sees_an_option_or_a_letter(options: list[str], query: str, said: str) -> None:
    own = question(
        0, correct_answer=f"<{options[0]}>", incorrect_answers=tuple(f"<{text}>" for text in options[1:]),
        user_query=query,
    )  # fmt: skip
    told = brief(own, [message(own.question_id, said)], "my answer")
    assert set(told) == {"query", "answer", "preference", "pref_type", "who", "updated", "previous", "evidence"}
    assert all(set(turn) == {"role", "content"} for turn in told["evidence"])
    values = [told[name] for name in told if name != "evidence"] + [turn["content"] for turn in told["evidence"]]
    assert not any(option in str(value) for option in own.options for value in values)


def test_the_rubrics_speak_of_no_options() -> None:
    for text in (*(rubric.instructions for rubric in RUBRICS.values()), PARAPHRASE):
        assert text in prompt_texts()
        assert not {"option", "options", "letter", "boxed"} & set(text.lower().replace(",", " ").split())
    assert len(set(versions().values())) == 3


def test_evidence_is_in_the_order_of_the_history_and_nothing_else_is_in_it() -> None:
    asked = [question(0, evidence=("p0.q1.turn", "p0.q0.turn")), question(1)]
    found = evidence_of(histories(asked)[0], asked)
    assert [turn.turn_id for turn in found["p0.q0"]] == ["p0.q0.turn", "p0.q1.turn"]
    assert [turn.turn_id for turn in found["p0.q1"]] == ["p0.q1.turn"]


def test_the_simulator_judges_through_the_real_client() -> None:
    asked = questions(4)
    rows = told(simulated(*PROMPTS), [answer(row, f"You could try {row.preference}.") for row in asked], asked)
    assert [row.score for row in rows][3] == 0.0, "the last was asked to forget it"
    assert [(j.judge, j.score) for j in rows[1].judgements] == [(f"simulator/1/{name}", 1.0) for name in PROMPTS]
    assert all(j.reason for row in rows for j in row.judgements)


def test_one_judge_alone_decides() -> None:
    asked = questions(1)
    row = told(simulated("serves"), [answer(asked[0], "You could try something new.")], asked)[0]
    assert (row.score, len(row.judgements)) == (0.25, 1)


def test_a_missing_verdict_leaves_the_answer_without_a_score() -> None:
    asked = questions(2)
    silent = Scripted("silent", lambda item: None if "green" in item["answer"] else 0.5)
    panel = Panel((Scripted("kind", lambda item: 1.0), silent), 0)
    rows = told(panel, [answer(row, f"Try {row.preference}.") for row in asked], asked)
    assert [row.score for row in rows] == [None, 0.75]
    assert [j.score for j in rows[0].judgements] == [1.0, None]


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"problem": "over_long", "answer": ""}, "over_long"), ({"answer": " \n"}, "nothing that a user would read")],
)
def test_what_the_system_did_not_say_is_its_own_failure(changes: dict[str, str], why: str) -> None:
    """And no judge is paid for it; its neighbours keep their places."""
    judge = Scripted("kind", lambda item: 1.0)
    asked = questions(3)
    rows = [answer(row, f"Try {row.preference}.") for row in asked]
    rows[1] = rows[1].model_copy(update=changes)
    found = told(Panel((judge,), 0), rows, asked)
    assert [row.score for row in found] == [1.0, 0.0, 1.0]
    assert why in found[1].judgements[0].reason and found[1].judgements[0].judge == "kind"
    assert [item["query"] for item in judge.seen] == ["Which drinks today?", "Which sports today?"]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (completion("I would say it is fine."), "not_json"),
        (completion('{"reason": "", "score": 7}'), "wrong_schema"),
        (completion('{"reason": "", "score": "NaN"}'), "wrong_schema"),
        (completion(None, refusal="I can not judge people."), "declined"),
    ],
)
def test_nonsense_and_refusals_are_no_verdict(reply: Reply, reason: str) -> None:
    asked = questions(1)
    with server(lambda request, headers: reply) as url:
        endpoint = Endpoint(url, "some-model", KEY, max_retries=0)
        panel = Panel((RubricJudge(endpoint, RUBRICS["serves"], 0),), 0)
        row = told(panel, [answer(asked[0], "Try green tea.")], asked)[0]
    assert row.score is None
    assert row.judgements[0].reason.startswith(f"no verdict: {reason}")
    assert row.judgements[0].judge == "some-model/serves"


def test_the_strict_judge_says_yes_or_no() -> None:
    assert Decided.model_validate_json('{"reason": "", "right": true}').score == 1.0
    for nonsense in ('"yes"', "0.5", "1", "null"):
        with pytest.raises(ValidationError):
            Decided.model_validate_json(f'{{"reason": "", "right": {nonsense}}}')
    for score in ("-0.1", "1.5", "NaN"):
        with pytest.raises(ValidationError):
            Graded.model_validate_json(f'{{"reason": "", "score": {score}}}')


def test_equal_briefs_are_asked_once() -> None:
    asked = questions(1)
    panel = simulated("serves")
    rows = told(panel, [answer(asked[0], "Try green tea.", system) for system in ("base", "sft", "grpo")], asked)
    assert [row.score for row in rows] == [1.0] * 3
    assert panel.author is not None and panel.author.usage.calls == 1


def test_a_judged_answer_costs_nothing_again(tmp_path: Path) -> None:
    asked = questions(3)
    rows = [answer(row, f"Try {row.preference}.") for row in asked]
    first, second = (simulated("serves", "strict", cache=tmp_path / "cache") for _ in range(2))
    assert told(first, rows, asked) == told(second, rows, asked)
    assert first.author is not None and first.author.usage.calls == 6
    assert second.author is not None and (second.author.usage.calls, second.author.usage.cached) == (0, 6)


def test_the_brief_is_all_that_is_sent() -> None:
    """Through the client, not only by construction: what a server reads holds neither options nor letters."""
    asked = questions(1)
    bodies: list[dict[str, Any]] = []

    def reply(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        bodies.append(request)
        return completion('{"reason": "fits", "score": 1}')

    with server(reply) as url:
        judge = RubricJudge(Endpoint(url, "some-model", KEY), RUBRICS["evidence"], 0)
        told(Panel((judge,), 0), [answer(asked[0], "Green tea, perhaps.")], asked)
    text = json.dumps(bodies)
    assert "p0.q0: what I have." in text and not any(option in text for option in asked[0].options)


def test_the_panel_of_the_settings() -> None:
    author, reader = JudgeConfig(), JudgeConfig(prompt="strict", endpoint="reader")
    assert Panel.configured([author], 0, settings()).names == ("simulator/1/serves",)
    with pytest.raises(UserError, match="PERSONAMEM_READER_MODEL"):
        Panel.configured([author, reader], 0, settings())
    named = settings(reader_model="other", reader_base_url="http://other/v1", reader_api_key=SecretStr("k"))
    panel = Panel.configured([author, reader], 0, named)
    assert panel.names == ("simulator/1/serves", "other/strict")
    first, second = panel.judges
    assert isinstance(first, RubricJudge) and isinstance(second, RubricJudge)
    assert (second.endpoint.base_url, second.endpoint.api_key) == ("http://other/v1", "k")
    assert first.endpoint.ledger is second.endpoint.ledger is panel.usage, "one budget for both"


def test_a_judge_does_not_sit_twice() -> None:
    with pytest.raises(UserError, match="two judges of the panel are simulator/1/serves"):
        Panel.configured([JudgeConfig(), JudgeConfig()], 0, settings())


def test_questions_without_located_evidence_are_judged_by_their_label() -> None:
    asked = questions(1)
    nowhere: dict[str, tuple[Message, ...]] = {asked[0].question_id: ()}
    row = simulated("evidence").judge([answer(asked[0], "Try green tea.")], asked, nowhere)[0]
    assert row.score == 1.0
