"""Each blocking check says no when its promise is broken."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets import seeds
from assets.checks import Outcome, results
from assets.conversations import Sessions
from assets.histories import Histories
from assets.personas import Persons
from assets.questions import Questions
from assets.shards import Made, Survey, lost
from personamem_pipeline.records import History, Message, Persona, PersonaSeed, Preference, Question, Rejection, Session
from tests.pipeline import Pipeline


def failed(outcomes: list[Outcome]) -> set[str]:
    return {outcome.name for outcome in outcomes if not outcome.passed}


def preference(number: int, **changes: object) -> Preference:
    values = {"preference_id": f"p{number}", "topic": f"t{number}", "text": f"x{number}", "pref_type": "sensitive_info"}
    return Preference.model_validate({**values, **changes})


def persona(*preferences: Preference) -> Persona:
    return Persona(
        person_id="t0", split="training", seed_persona="A baker.", name="A B", profile={}, preferences=preferences,
        author="a",
    )  # fmt: skip


def session(number: int, evidence: tuple[str, ...], roles: str = "ua", time: str = "2025-01-01") -> Session:
    messages = tuple(
        Message(turn_id=f"s{number}.m{i}", role="user" if role == "u" else "assistant", content="hi")
        for i, role in enumerate(roles)
    )
    return Session(
        session_id=f"s{number}", person_id="t0", time=time, conversation_type="translation",
        event="reveals" if evidence else "small_talk", preference=None, wording="seen", messages=messages,
        evidence=evidence, author="a",
    )  # fmt: skip


def history(*sessions: Session, tokens: int = 10) -> History:
    return History(person_id="t0", split="training", sessions=sessions, tokens=tokens, tokenizer="words")


def found(survey: Survey, *rows: object, planned: list[str] | None = None, **more: object) -> list[Outcome]:
    """What a survey finds in one shard; planned is what there is, unless said otherwise."""
    ids = [survey.id_of(row) for row in rows] if planned is None else planned
    survey.add(Made(rows, ids, **more))  # type: ignore[arg-type]
    return survey.outcomes()


def refused(row_id: str) -> Rejection:
    return Rejection(row_id=row_id, person_id="t0", reason="reader: why")


SEED = PersonaSeed(person_id="t0", split="training", persona="A baker.")
BENCHMARK_SEED = PersonaSeed(person_id="b0", split="benchmark", persona="A smith.")
GOOD = session(0, ("s0.m0",))
ANNA = persona(preference(0))

CASES: list[tuple[str, Callable[[], list[Outcome]]]] = [
    ("", lambda: seeds.check([SEED, BENCHMARK_SEED])),
    ("unique_persons", lambda: seeds.check([SEED, SEED, BENCHMARK_SEED])),
    ("both_splits", lambda: seeds.check([SEED])),
    ("", lambda: found(Persons(), persona(preference(0), preference(1, replaces="p0")))),
    ("whole_persons", lambda: found(Persons(), persona())),
    ("whole_persons", lambda: found(Persons(), persona(preference(1, replaces="p0"), preference(0)))),
    ("whole_persons", lambda: found(Persons(), persona(preference(0, text=" ")))),
    (
        "no_duplicate_preferences",
        lambda: found(Persons(), persona(preference(0), preference(1, topic="t0", text="X0"))),
    ),
    ("few_rejected", lambda: found(Persons(), ANNA, planned=["t0", "t1"], rejected=[refused("t1")])),
    ("", lambda: found(Persons(), ANNA, rejected=[refused("p7")])),  # of a part: the person stands
    ("nothing_lost", lambda: found(Persons(), ANNA, planned=["t0", "t1"])),
    ("", lambda: found(Sessions(), GOOD)),
    ("evidence_present", lambda: found(Sessions(), session(0, ("s9.m0",)))),
    ("evidence_present", lambda: found(Sessions(), GOOD.model_copy(update={"evidence": ()}))),
    ("roles_alternate", lambda: found(Sessions(), session(0, ("s0.m0",), roles="uua"))),
    ("roles_alternate", lambda: found(Sessions(), session(0, ("s0.m0",), roles="au"))),
    ("few_rejected", lambda: found(Sessions())),
    ("", lambda: found(Histories(100), history(GOOD), given=[GOOD])),
    (
        "in_time_order",
        lambda: found(
            Histories(100), history(session(1, (), time="2025-02-01"), session(2, (), time="2025-01-01")), given=[]
        ),
    ),
    ("in_time_order", lambda: found(Histories(100), history(GOOD, GOOD), given=[GOOD])),
    ("evidence_kept", lambda: found(Histories(100), history(session(1, ())), given=[GOOD])),
    ("within_budget", lambda: found(Histories(100), history(GOOD, session(1, ()), tokens=101), given=[GOOD])),
    ("nothing_lost", lambda: found(Histories(100), given=[], planned=["t0"])),
]


@pytest.mark.parametrize(("broken", "outcomes"), CASES)
def test_a_broken_promise_is_seen(broken: str, outcomes: Callable[[], list[Outcome]]) -> None:
    assert failed(outcomes()) == ({broken} - {""})


def test_over_budget_by_evidence_alone_is_allowed() -> None:
    assert not failed(found(Histories(100), history(GOOD, tokens=101), given=[GOOD]))


def test_questions_without_certificate_or_evidence_are_seen(pipeline: Pipeline) -> None:
    rows = pipeline.store.read_rows("questions", pipeline.metadata("questions", "00")["version"], Question)
    read = pipeline.store.read_rows("histories", pipeline.metadata("histories", "00")["version"], History)

    def asked(*rows: Question, may_lack: bool = False) -> set[str]:
        return failed(found(Questions(may_lack_evidence=may_lack), *rows, given=read))

    assert not asked(*rows)
    bare = rows[0].certificate.model_copy(update={"readers": (), "admitted": False, "reasons": ("uncertified",)})
    assert asked(rows[0].model_copy(update={"certificate": bare}), *rows[1:]) == {"certificates_present"}
    refusal = bare.model_copy(update={"readers": ("r",)})
    assert asked(*(row.model_copy(update={"certificate": refusal}) for row in rows)) == {"share_admitted"}
    gone = rows[0].model_copy(update={"evidence": ("nowhere",)})
    assert asked(gone, *rows[1:], may_lack=True) == {"evidence_in_history"}
    none = rows[0].model_copy(update={"evidence": ()})
    assert asked(none, *rows[1:]) == {"evidence_in_history"}
    assert not asked(none, *rows[1:], may_lack=True)


@given(ended=st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=12))
def test_rows_in_are_rows_out_and_rows_rejected(ended: list[tuple[int, bool]]) -> None:
    planned = [f"r{number}" for number in range(10)]
    rows = [f"r{number}" for number, kept in ended if kept]
    rejections = [refused(f"r{number}") for number, kept in ended if not kept]
    exactly_once = sorted(number for number, _ in ended) == list(range(10))
    assert (lost(rows, planned, rejections) == []) == exactly_once
    assert lost([*rows, "stray"], planned, rejections)[-1] == "stray was not planned"


def test_a_survey_holds_a_few_problems_and_counts_them_all() -> None:
    survey = Persons()
    for _ in range(3):
        survey.add(Made([persona(), persona(), persona()], ["t0"]))
    outcome = next(outcome for outcome in survey.outcomes() if outcome.name == "whole_persons")
    assert outcome.facts["problems"] == 9 and len(outcome.problems) == 5


def test_a_stage_that_forgets_a_check_is_an_error() -> None:
    with pytest.raises(Exception, match="has the checks"):
        results("personas", [Outcome("few_rejected", True)])
