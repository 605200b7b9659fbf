"""Histories and questions made by hand, and dealt into shards: rows whose every figure a test knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from personamem_pipeline.presets import QuestionsConfig
from personamem_pipeline.questions.gather import Gathered, GatheredKind, gather
from personamem_pipeline.records import (
    QUESTION_TYPES,
    Certificate,
    History,
    Message,
    Preference,
    Question,
    Rejection,
    Session,
    Split,
)
from personamem_pipeline.store import Store

CONFIG = QuestionsConfig()
PASSED = Certificate(
    readers=("simulator/1", "other"), blind_accuracy=0.25, blind_by_reader=(0.25, 0.0), oracle_accuracy=1.0,
    update_accuracy=None, swapped_accuracy=0.25, query_leak=False, implicitness=1.0, longest_guess=0.0,
    shortest_guess=0.25, admitted=True, reasons=(),
)  # fmt: skip
TYPES = QUESTION_TYPES


def split_of(person_id: str) -> Split:
    return "training" if person_id.startswith("t") else "benchmark"


def made_history(person_id: str, said: str | None = None, **changes: Any) -> History:
    """One session that reveals something and one of small talk."""
    sessions = []
    for number, event in enumerate(("reveals", "small_talk")):
        session_id = f"{person_id}.s{number}"
        user = said if said and not number else f"{person_id} says thing {number}"
        sessions.append(
            Session(
                session_id=session_id, person_id=person_id, time=f"2025-01-0{number + 1}T08:00",
                conversation_type="chat_message", event=event, wording="seen",  # type: ignore[arg-type]
                preference=Preference(preference_id=f"{person_id}.p0", topic="tea", text="tea", pref_type="sensitive_info")
                if not number else None,
                messages=(
                    Message(turn_id=f"{session_id}.m0", role="user", content=user),
                    Message(turn_id=f"{session_id}.m1", role="assistant", content="Noted."),
                ),
                evidence=() if number else (f"{session_id}.m0",), author="simulator/1",
            )
        )  # fmt: skip
    return History(
        person_id=person_id, split=split_of(person_id), sessions=tuple(sessions), tokens=10, tokenizer="words",
        gpt4o_tokens=12, **changes,
    )  # fmt: skip


def made_question(
    person_id: str, number: int = 0, *, certificate: dict[str, Any] | None = None, **changes: Any
) -> Question:
    """An admitted question; types take turns, so do topics."""
    name = f"{person_id}.p{number}.q0"
    return Question(
        **{
            "question_id": name, "person_id": person_id, "split": split_of(person_id), "user_query": f"Query of {name}?",
            "correct_answer": f"Right {name}", "incorrect_answers": ("Wrong one", "Wrong two", "Wrong three"),
            "incorrect_kinds": ("other", "other", "generic"), "topic": f"topic {number}", "preference": f"likes {name}",
            "preference_id": f"{person_id}.p{number}", "pref_type": TYPES[number % len(TYPES)], "who": "self",
            "updated": False, "prev_pref": "", "conversation_scenario": "chat_message", "wording": "seen",
            "evidence": (f"{person_id}.s0.m0",), "author": "simulator/1",
            "certificate": PASSED.model_copy(update=certificate or {}), **changes,
        }
    )  # fmt: skip


def refused(*reasons: str) -> dict[str, Any]:
    """Changes to a certificate."""
    return {"admitted": False, "reasons": reasons}


def people(training: int = 6, benchmark: int = 4, questions: int = 7) -> tuple[list[History], list[Question]]:
    """Persons with as many admitted questions each."""
    names = [f"t{n:04d}" for n in range(training)] + [f"b{n:04d}" for n in range(benchmark)]
    rows = [made_question(name, number) for name in names for number in range(questions)]
    return [made_history(name) for name in names], rows


Versions = dict[str, dict[str, str]]


def deal(
    store: Store,
    histories: Sequence[History],
    questions: Sequence[Question],
    shards: Sequence[str] = ("0",),
    rejected: Sequence[Rejection] = (),
    parents: dict[str, str] | None = None,
) -> Versions:
    """Store the rows, person by person in turn, in these shards."""
    persons = list(dict.fromkeys(row.person_id for row in (*histories, *questions)))
    versions: Versions = {"histories": {}, "questions": {}}
    for index, shard in enumerate(shards):
        own = set(persons[index :: len(shards)])
        versions["histories"][shard] = store.write_rows(
            "histories", History, [row for row in histories if row.person_id in own],
            parents=parents or {}, producer={"code_version": "h/1"}, rejected=[],
        ).version  # fmt: skip
        asked = [row for row in questions if row.person_id in own]
        versions["questions"][shard] = store.write_rows(
            "questions", Question, asked, parents=parents or {},
            producer={"code_version": "q/1", "author": "simulator/1", "seed": "0", "answers": str(100 * len(asked))},
            rejected=[row for row in rejected if row.person_id in own],
        ).version  # fmt: skip
    return versions


def gathered(store: Store, kind: GatheredKind, versions: Versions, **changes: Any) -> Gathered:
    """What `gather` makes of dealt rows."""
    arguments = {"shards": list(versions["histories"]), "producer": {}, "config": CONFIG} | versions | changes
    return gather(store, kind, **arguments)


def findings(made: Gathered) -> dict[str, bool]:
    """Which promises hold."""
    return {finding.name: finding.passed for finding in made.findings}
