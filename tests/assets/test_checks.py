"""Each blocking check says no when its promise is broken."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from assets import conversations, histories, personas, questions, seeds
from assets.checks import Outcome, few_rejected, results
from personamem_pipeline.records import History, Message, Persona, PersonaSeed, Preference, Question, Session
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


SEED = PersonaSeed(person_id="t0", split="training", persona="A baker.")
BENCHMARK_SEED = PersonaSeed(person_id="b0", split="benchmark", persona="A smith.")
GOOD = session(0, ("s0.m0",))

CASES: list[tuple[str, Callable[[], list[Outcome]]]] = [
    ("", lambda: seeds.check([SEED, BENCHMARK_SEED])),
    ("unique_persons", lambda: seeds.check([SEED, SEED, BENCHMARK_SEED])),
    ("both_splits", lambda: seeds.check([SEED])),
    ("", lambda: personas.check([persona(preference(0), preference(1, replaces="p0"))], [])),
    ("whole_persons", lambda: personas.check([persona()], [])),
    ("whole_persons", lambda: personas.check([persona(preference(1, replaces="p0"), preference(0))], [])),
    ("whole_persons", lambda: personas.check([persona(preference(0, text=" "))], [])),
    (
        "no_duplicate_preferences",
        lambda: personas.check([persona(preference(0), preference(1, topic="t0", text="X0"))], []),
    ),
    ("few_rejected", lambda: personas.check([persona(preference(0))], [("t1", "why")])),
    ("", lambda: conversations.check([GOOD], [])),
    ("evidence_present", lambda: conversations.check([session(0, ("s9.m0",))], [])),
    ("evidence_present", lambda: conversations.check([GOOD.model_copy(update={"evidence": ()})], [])),
    ("roles_alternate", lambda: conversations.check([session(0, ("s0.m0",), roles="uua")], [])),
    ("roles_alternate", lambda: conversations.check([session(0, ("s0.m0",), roles="au")], [])),
    ("few_rejected", lambda: conversations.check([], [])),
    ("", lambda: histories.check([history(GOOD)], [GOOD], 100)),
    (
        "in_time_order",
        lambda: histories.check(
            [history(session(1, (), time="2025-02-01"), session(2, (), time="2025-01-01"))], [], 100
        ),
    ),
    ("in_time_order", lambda: histories.check([history(GOOD, GOOD)], [GOOD], 100)),
    ("evidence_kept", lambda: histories.check([history(session(1, ()))], [GOOD], 100)),
    ("within_budget", lambda: histories.check([history(GOOD, session(1, ()), tokens=101)], [GOOD], 100)),
]


@pytest.mark.parametrize(("broken", "outcomes"), CASES)
def test_a_broken_promise_is_seen(broken: str, outcomes: Callable[[], list[Outcome]]) -> None:
    assert failed(outcomes()) == ({broken} - {""})


def test_over_budget_by_evidence_alone_is_allowed() -> None:
    assert not failed(histories.check([history(GOOD, tokens=101)], [GOOD], 100))


def test_questions_without_certificate_or_evidence_are_seen(pipeline: Pipeline) -> None:
    rows = pipeline.store.read_rows("questions", pipeline.metadata("questions", "00")["version"], Question)
    read = pipeline.store.read_rows("histories", pipeline.metadata("histories", "00")["version"], History)
    assert not failed(questions.check(rows, read))
    bare = rows[0].certificate.model_copy(update={"reader": "", "admitted": False, "reasons": ("uncertified",)})
    uncertified = rows[0].model_copy(update={"certificate": bare})
    assert failed(questions.check([uncertified, *rows[1:]], read)) == {"certificates_present"}
    refused = [row.model_copy(update={"certificate": bare.model_copy(update={"reader": "r"})}) for row in rows]
    assert failed(questions.check(refused, read)) == {"share_admitted"}
    gone = rows[0].model_copy(update={"evidence": ("nowhere",)})
    assert failed(questions.check([gone, *rows[1:]], read)) == {"evidence_in_history"}


def test_a_stage_that_forgets_a_check_is_an_error() -> None:
    with pytest.raises(Exception, match="promises the checks"):
        results("personas", [few_rejected(1, [])])
