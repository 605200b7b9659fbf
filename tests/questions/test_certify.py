"""The certificate measures what it says, and refuses exactly what it says it refuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from personamem_pipeline.errors import Refused, UserError
from personamem_pipeline.llm.client import Endpoint, Prompt
from personamem_pipeline.llm.simulator.app import TASKS
from personamem_pipeline.presets import QuestionsConfig
from personamem_pipeline.questions.certify import certify, judge
from personamem_pipeline.questions.outcomes import Outcomes
from personamem_pipeline.questions.stating import names, same_preference
from personamem_pipeline.questions.trials import ChoiceReply, Evidence, StateReply, donors, hints
from personamem_pipeline.records import Certificate, History, Question
from tests.rooms import QUESTIONS, rooms, simulator

GOOD = Outcomes(
    blind=((True, False, False, False),), oracle=(True, True), update=(), swapped=(False, False), query_stated="",
    hints_stated=("",),
)  # fmt: skip
UPDATED = replace(GOOD, update=(True, True), hints_stated=("", ""))


def first(fits: Callable[[Question], bool]) -> Question:
    return next(question for question in rooms().questions if fits(question))


def plain() -> Question:
    return first(lambda q: q.pref_type == "neutral_preferences" and q.who == "self" and not q.updated)


def updated() -> Question:
    return first(lambda q: q.updated and q.pref_type != "ask_to_forget")


def history_of(question: Question) -> History:
    return next(history for history in rooms().histories if history.person_id == question.person_id)


def judged(question: Question, found: Outcomes, config: QuestionsConfig = QUESTIONS) -> Certificate:
    return judge(question, hints(question, Evidence.of(question, history_of(question))), config, ["r"], found)


def codes(certificate: Certificate) -> list[str]:
    assert certificate.admitted == (not certificate.reasons)
    return [reason.partition(":")[0] for reason in certificate.reasons]


@pytest.mark.parametrize(
    ("outcomes", "reasons"),
    [
        ({}, []),
        ({"blind": ((True, True, False, False),)}, []),
        ({"blind": ((True, True, True, False),)}, ["blind"]),
        ({"blind": ((False,) * 4, (True, True, True, False))}, ["blind"]),
        ({"oracle": (True, False)}, ["oracle"]),
        ({"swapped": (True, False)}, []),
        ({"swapped": (True, True)}, ["swapped"]),
        ({"swapped": ()}, ["swapped"]),
        ({"query_stated": "PREFERENCE"}, ["leak"]),
        ({"hints_stated": ("PREFERENCE",)}, ["implicitness"]),
        ({"blind": ((False, False, False, None),)}, ["reader"]),
        ({"blind": ((None, None, None, False),)}, ["reader", "blind"]),
        ({"oracle": (True, None)}, ["reader", "oracle"]),
        ({"swapped": (True, None)}, ["reader", "swapped"]),
        ({"query_stated": None}, ["reader", "leak"]),
        ({"hints_stated": (None,)}, ["reader", "implicitness"]),
    ],
)
def test_bounds(outcomes: dict[str, Any], reasons: list[str]) -> None:
    question = plain()
    stated = {"PREFERENCE": question.preference}
    if "query_stated" in outcomes:
        outcomes = {"query_stated": stated.get(outcomes["query_stated"], outcomes["query_stated"])}
    if "hints_stated" in outcomes:
        outcomes = {"hints_stated": tuple(stated.get(text, text) for text in outcomes["hints_stated"])}
    assert codes(judged(question, replace(GOOD, **outcomes))) == reasons


@pytest.mark.parametrize(
    ("outcomes", "accuracy", "reasons"),
    [
        ({}, 1.0, []),
        ({"update": (True, False)}, 0.5, ["update"]),
        ({"update": (True, None)}, 0.5, ["reader", "update"]),
        ({"update": ()}, 0.0, ["update"]),
    ],
)
def test_an_update_must_follow_from_the_updating_turns(
    outcomes: dict[str, Any], accuracy: float, reasons: list[str]
) -> None:
    certificate = judged(updated(), replace(UPDATED, **outcomes))
    assert (certificate.update_accuracy, codes(certificate)) == (accuracy, reasons)
    assert judged(plain(), GOOD).update_accuracy is None


def test_the_bounds_are_configuration() -> None:
    question = plain()
    found = replace(GOOD, blind=((True,) * 4,), oracle=(False, False), swapped=(True, True))
    found = replace(found, hints_stated=(question.preference,))
    lenient = QuestionsConfig(max_blind_accuracy=1, min_oracle_accuracy=0, max_swapped_accuracy=1, min_implicitness=0)
    assert codes(judged(question, found)) == ["blind", "oracle", "swapped", "implicitness"]
    assert codes(judged(question, found, lenient)) == []


@pytest.mark.parametrize(
    "fits", [lambda q: q.pref_type == "sensitive_info", lambda q: q.who == "others"], ids=["sensitive", "others"]
)
def test_what_is_right_for_a_stranger_too_is_measured_and_not_bound(fits: Callable[[Question], bool]) -> None:
    question = first(fits)
    said = ("",) * len(hints(question, Evidence.of(question, history_of(question))))
    certificate = judged(question, replace(GOOD, swapped=(True, True), hints_stated=said))
    assert (certificate.swapped_accuracy, certificate.admitted) == (1.0, True)
    assert codes(judged(question, replace(GOOD, swapped=(), hints_stated=said))) == ["swapped"]


def test_the_worst_reader_counts() -> None:
    certificate = judged(plain(), replace(GOOD, blind=((False,) * 4, (True, True, False, False))))
    assert (certificate.blind_accuracy, certificate.blind_by_reader) == (0.5, (0.0, 0.5))


def test_a_named_preference_is_a_leak() -> None:
    question = plain()
    told = question.model_copy(update={"user_query": f"Where do I get {question.preference.upper()}?"})
    assert judged(told, GOOD).query_leak
    history = history_of(question)
    session = next(s for s in history.sessions if set(s.evidence) & set(question.evidence))
    message = session.messages[0].model_copy(update={"content": f"I like {question.preference}."})
    named = session.model_copy(update={"messages": (message, *session.messages[1:])})
    changed = history.model_copy(update={"sessions": tuple(named if s is session else s for s in history.sessions)})
    certificate = judge(question, hints(question, Evidence.of(question, changed)), QUESTIONS, ["r"], GOOD)
    assert (certificate.implicitness, codes(certificate)) == (0.0, ["implicitness"])


def test_what_is_said_openly_by_nature_is_no_hint() -> None:
    for question in rooms().questions:
        evidence = Evidence.of(question, history_of(question))
        assert tuple(turn.turn_id for turn in evidence.turns) == question.evidence
        own = hints(question, evidence)
        if question.pref_type == "sensitive_info":
            assert own == ()
        else:
            assert len(own) == 1 + question.updated
            assert question.preference in own[-1].labels
            if question.updated and question.pref_type != "ask_to_forget":
                assert all({question.preference, question.prev_pref} == set(hint.labels) for hint in own)


@pytest.mark.parametrize("text", ["{second}", "  {second}", "", "   "])
def test_empty_and_equal_options_are_refused(text: str) -> None:
    question = plain()
    one, two, _ = question.incorrect_answers
    changed = question.model_copy(update={"incorrect_answers": (one, two, text.format(second=two.upper()))})
    assert codes(judged(changed, GOOD)) == ["options"]


@pytest.mark.parametrize(
    ("stated", "label", "same"),
    [
        ("Green tea", "green tea", True),
        ("I really like green tea in the morning", "green tea", True),
        ("tea", "green tea", True),
        ("yoga and meditation", "practises yoga and meditation daily", True),
        ("morning yoga, slow meditation", "practises yoga and meditation daily", False),
        ("black tea", "green tea", False),
        ("", "green tea", False),
        ("I like it very much", "green tea", False),
        ("greenery", "green", False),
    ],
)
def test_what_counts_as_the_same_preference(stated: str, label: str, same: bool) -> None:
    assert same_preference(stated, label) == same


def test_a_label_is_named_by_whole_words_whatever_their_case() -> None:
    assert names("Where do I get GREEN  tea?", "green tea")
    assert not names("evergreen teapots", "green tea")


def test_another_persons_evidence_is_of_the_same_kind_and_about_something_else() -> None:
    questions = rooms().questions
    of = {question.question_id: question for question in questions}
    found = donors(questions, 0)
    for question_id, donor in found.items():
        assert donor is not None
        assert donor.person_id != of[question_id].person_id
        assert donor.preference != of[question_id].preference
    same = [of[i].pref_type == d.pref_type and of[i].who == d.who for i, d in found.items() if d]
    assert sum(same) > 0.95 * len(same)
    assert found == donors(questions, 0)
    assert {i: d and d.question_id for i, d in donors(questions, 1).items()} != {
        i: d and d.question_id for i, d in found.items()
    }
    alone = [question for question in questions if question.person_id == questions[0].person_id]
    assert set(donors(alone, 0).values()) == {None}


def test_one_person_alone_is_refused_for_want_of_others() -> None:
    question = plain()
    forgotten = first(lambda q: q.pref_type == "ask_to_forget")
    certified = certify(
        [question, forgotten], [history_of(question), history_of(forgotten)], QUESTIONS, [simulator()], 0
    )
    assert all("swapped" not in codes(row.certificate) for row in certified)
    (alone,) = certify([question], [history_of(question)], QUESTIONS, [simulator()], 0)
    assert "swapped" in codes(alone.certificate)
    (own,) = certify([forgotten], [history_of(forgotten)], QUESTIONS, [simulator()], 0)
    assert own.certificate.swapped_accuracy == 0.0, "what was forgotten is compared with itself, before and after"


def test_the_simulators_oracle_can_answer_everything_and_its_blind_reader_guesses() -> None:
    questions = rooms().questions
    for question in questions:
        certificate = question.certificate
        assert certificate.readers == ("simulator/1",)
        assert certificate.oracle_accuracy == certificate.implicitness == 1.0
        assert not certificate.query_leak
        assert certificate.update_accuracy == (
            1.0 if question.updated and question.pref_type != "ask_to_forget" else None
        )
        right_for_all = question.who == "others" or question.pref_type == "sensitive_info"
        assert certificate.swapped_accuracy == float(right_for_all)
    blind = sum(question.certificate.blind_accuracy for question in questions) / len(questions)
    assert abs(blind - 0.25) < 0.1
    refused = [question for question in questions if not question.certificate.admitted]
    assert len(refused) < 0.15 * len(questions)


def test_a_second_blind_reader_finds_what_stands_out() -> None:
    question = plain()
    one, two, three = (f"You could try {word}" for word in ("chess", "poker", "bingo"))
    odd = question.model_copy(
        update={"correct_answer": "Something with flowers, perhaps", "incorrect_answers": (one, two, three)}
    )
    guesser = Endpoint(base_url=None, model="guesser/1", api_key=None)
    history = history_of(question)
    (certified,) = certify([odd], [history], QUESTIONS, [simulator(), guesser], 0)
    assert certified.certificate.readers == ("simulator/1", "guesser/1")
    assert certified.certificate.blind_by_reader[1] == certified.certificate.blind_accuracy == 1.0
    assert "blind" in codes(certified.certificate)
    many = certify(rooms().questions, rooms().histories, QUESTIONS, [simulator(), guesser], 0)
    blind = sum(row.certificate.blind_by_reader[1] for row in many) / len(many)
    assert blind < 0.3, "no shape gives the answers away"


class Recording(Endpoint):
    """Picks `a`, states nothing, and refuses the requests that `refuses` names; keeps what it was asked."""

    seen: list[Prompt[Any]]
    refuses: Callable[[Prompt[Any]], bool]

    def map(self, prompts: Sequence[Prompt[Any]], on_progress: Any = None) -> list[Any]:
        self.seen = list(prompts)
        for done in range(1, len(prompts) + 1):
            if on_progress:
                on_progress(done, len(prompts))
        return [Refused(p.key, "schema: no") if self.refuses(p) else _reply(p) for p in prompts]


def _reply(prompt: Prompt[Any]) -> Any:
    return StateReply(preference="") if prompt.task == "state" else ChoiceReply(answer="a")


def recording(refuses: Callable[[Prompt[Any]], bool] = lambda prompt: False) -> Recording:
    endpoint = Recording(None, "m", None)
    endpoint.refuses = refuses
    return endpoint


def test_readers_see_what_they_may_and_nothing_twice() -> None:
    changed, forgotten = updated(), first(lambda q: q.pref_type == "ask_to_forget" and not q.updated)
    pool = [changed, forgotten, plain()]
    reader, second = recording(), recording()
    told: list[tuple[int, int]] = []
    histories = [history_of(question) for question in pool]
    certify(pool, histories, QUESTIONS, [reader, second], 0, lambda done, total: told.append((done, total)))
    texts = {m.turn_id: m.content for history in histories for m in history.messages}
    shown = Counter(
        (prompt.brief["query"], tuple(turn["content"] for turn in prompt.brief["turns"]))
        for prompt in reader.seen
        if prompt.task == "choice"
    )
    for question in pool:
        evidence = tuple(texts[turn] for turn in question.evidence)
        assert shown[question.user_query, ()] == QUESTIONS.blind_orders
        assert shown[question.user_query, evidence] == QUESTIONS.oracle_orders
    assert shown[changed.user_query, (texts[changed.evidence[-1]],)] == QUESTIONS.oracle_orders
    assert shown[forgotten.user_query, (texts[forgotten.evidence[0]],)] == QUESTIONS.swapped_orders
    stated = {prompt.brief["text"] for prompt in reader.seen if prompt.task == "state"}
    assert {question.user_query for question in pool} < stated
    assert texts[forgotten.evidence[-1]] not in stated, "the request to forget names it by nature"
    assert all(prompt.task == "choice" and not prompt.brief["turns"] for prompt in second.seen)
    for asked in (reader.seen, second.seen):
        assert len({(prompt.task, prompt.key) for prompt in asked}) == len(asked)
    total = len(reader.seen) + len(second.seen)
    assert told == [(done, total) for done in range(1, total + 1)]


def test_a_favourite_letter_scores_exactly_chance() -> None:
    question = plain()
    (certified,) = certify([question], [history_of(question)], QUESTIONS, [recording()], 0)
    assert certified.certificate.blind_accuracy == 0.25


@pytest.mark.parametrize(
    ("refuses", "reasons"),
    [
        (lambda p: p.task == "choice" and bool(p.brief["turns"]), ["reader", "oracle", "swapped"]),
        (lambda p: p.task == "choice" and not p.brief["turns"], ["reader", "blind"]),
        (lambda p: p.task == "state" and p.brief["text"].endswith("?"), ["reader", "leak"]),
        (lambda p: p.task == "state", ["reader", "leak", "implicitness"]),
    ],
    ids=["with turns", "blind", "query", "every text"],
)
def test_errors_refuse(refuses: Callable[[Prompt[Any]], bool], reasons: list[str]) -> None:
    turns = {m.turn_id: m.content for history in rooms().histories for m in history.messages}
    question = first(
        lambda q: q.who == "self" and not q.updated and q.pref_type == "neutral_preferences"
        and not turns[q.evidence[0]].endswith("?")
    )  # fmt: skip
    other = first(lambda q: q.person_id != question.person_id and q.preference != question.preference)
    readers = [recording(refuses)]
    certified = certify([question, other], [history_of(question), history_of(other)], QUESTIONS, readers, 0)
    assert certified[0].certificate.reasons[0] == "reader: schema: no"
    assert set(reasons) <= set(codes(certified[0].certificate))


def test_somebody_must_read() -> None:
    with pytest.raises(UserError, match="no reader"):
        certify([], [], QUESTIONS, [], 0)


def test_a_reader_who_notices_nothing_cannot_vouch_for_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its silence about a leak is worth something only if it speaks up where a preference is said outright."""
    monkeypatch.setitem(TASKS, "state", lambda brief, rng: {"preference": ""})
    made = rooms()
    certified = certify(made.questions[:6], made.histories, QUESTIONS, [simulator()], 0)
    assert all("reader" in codes(question.certificate) for question in certified)
