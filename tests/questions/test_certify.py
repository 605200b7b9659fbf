"""The certificate refuses exactly what it says it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from personamem_pipeline.errors import Refused
from personamem_pipeline.llm.client import Endpoint, Prompt
from personamem_pipeline.presets import QuestionsConfig
from personamem_pipeline.questions.certify import ChoiceReply, certify, judge, length_rank
from personamem_pipeline.records import History, Question
from tests.rooms import QUESTIONS, rooms

GOOD = {"blind": [True, False, False, False], "oracle": [True, True]}


def a_question() -> tuple[Question, History]:
    question = next(q for q in rooms().questions if q.pref_type == "neutral_preferences" and q.who == "self")
    return question, next(h for h in rooms().histories if h.person_id == question.person_id)


@pytest.mark.parametrize(
    ("outcomes", "reasons"),
    [
        ({}, []),
        ({"blind": [True, True, False, False]}, []),
        ({"blind": [True, True, True, False]}, ["blind"]),
        ({"oracle": [True, False]}, ["oracle"]),
        ({"blind": [False, False, False, None]}, ["reader"]),
        ({"blind": [None, None, None, False]}, ["reader", "blind"]),
        ({"oracle": [True, None]}, ["reader", "oracle"]),
    ],
)
def test_bounds(outcomes: dict[str, Any], reasons: list[str]) -> None:
    question, history = a_question()
    certificate = judge(question, history, QuestionsConfig(), "r", **(GOOD | outcomes))
    assert [reason.partition(":")[0] for reason in certificate.reasons] == reasons
    assert certificate.admitted == (not reasons)


def test_a_named_preference_is_a_leak() -> None:
    question, history = a_question()
    told = question.model_copy(update={"user_query": f"Where do I get {question.preference.upper()}?"})
    assert judge(told, history, QuestionsConfig(), "r", **GOOD).query_leak  # type: ignore[arg-type]
    session = next(s for s in history.sessions if set(s.evidence) & set(question.evidence))
    message = session.messages[0].model_copy(update={"content": f"I like {question.preference}."})
    named = session.model_copy(update={"messages": (message, *session.messages[1:])})
    sessions = tuple(named if s is session else s for s in history.sessions)
    certificate = judge(question, history.model_copy(update={"sessions": sessions}), QuestionsConfig(), "r", **GOOD)  # type: ignore[arg-type]
    assert not certificate.admitted
    assert certificate.reasons[0].startswith("leak")


def test_what_is_named_by_nature_is_no_leak() -> None:
    for question in rooms().questions:
        if question.pref_type in ("ask_to_forget", "sensitive_info"):
            assert not question.certificate.query_leak


def test_two_equal_options_are_refused() -> None:
    question, history = a_question()
    first, second, _ = question.incorrect_answers
    twins = question.model_copy(update={"incorrect_answers": (first, second, f" {second.upper()}")})
    assert judge(twins, history, QuestionsConfig(), "r", **GOOD).reasons == ("options: two of them are the same",)  # type: ignore[arg-type]


def test_length_rank() -> None:
    assert length_rank(["a", "bb", "cc", "dd"]) == 0
    assert length_rank(["aaa", "bb", "cc", "dd"]) == 3
    assert length_rank(["aa", "bb", "c", "ddd"]) == 1
    assert length_rank(["aa", "bb", "cc", "dd"]) == 1


def test_the_simulators_oracle_can_answer_everything_and_its_blind_reader_guesses() -> None:
    questions = rooms().questions
    assert all(question.certificate.oracle_accuracy == 1.0 for question in questions)
    assert all(question.certificate.reader == "simulator/1" for question in questions)
    blind = sum(question.certificate.blind_accuracy for question in questions) / len(questions)
    assert abs(blind - 0.25) < 0.1
    refused = [question for question in questions if not question.certificate.admitted]
    assert all(question.certificate.reasons for question in refused)
    assert len(refused) < 0.15 * len(questions)


def test_readers_see_what_they_may_and_their_errors_refuse() -> None:
    seen: list[Prompt[Any]] = []

    class Broken(Endpoint):
        """Fails on the first oracle request and picks `a` otherwise."""

        def map(self, prompts: Sequence[Prompt[Any]], on_progress: object = None) -> list[Any]:
            seen.extend(prompts)
            return [Refused(p.key, "no") if p.key.endswith("oracle 0") else ChoiceReply(answer="a") for p in prompts]

    question, history = a_question()
    (certified,) = certify([question], [history], QUESTIONS, Broken(None, "m", None), 0)
    assert certified.certificate.blind_accuracy == 0.25, "a favourite letter scores exactly chance over four orders"
    assert not certified.certificate.admitted
    assert certified.certificate.reasons[0] == "reader: no"
    turns = [[turn["content"] for turn in prompt.brief["turns"]] for prompt in seen]
    evidence = [m.content for m in history.messages if m.turn_id in question.evidence]
    assert turns == [[]] * QUESTIONS.blind_orders + [evidence] * QUESTIONS.oracle_orders
    assert len({prompt.key for prompt in seen}) == len(seen)
