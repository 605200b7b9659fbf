"""Gathered datasets hold what they promise, and a broken promise is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.questions.gather import (
    Gathered,
    GatheredKind,
    balance,
    disjoint_items,
    disjoint_persons,
    funnel,
    gather,
    read_histories,
    read_questions,
    whole_evidence,
)
from personamem_pipeline.records import History, Question
from personamem_pipeline.store import Store
from tests.rooms import rooms

PRODUCER = {"stage": "test"}


def shards_of(store: Store, names: list[str]) -> dict[str, dict[str, str]]:
    versions: dict[str, dict[str, str]] = {"histories": {}, "questions": {}}
    for index, name in enumerate(names):
        persons = {persona.person_id for persona in rooms().personas[index :: len(names)]}
        histories = [row for row in rooms().histories if row.person_id in persons]
        questions = [row for row in rooms().questions if row.person_id in persons]
        for kind, record, rows in (("histories", History, histories), ("questions", Question, questions)):
            manifest = store.write_rows(kind, record, rows, parents={}, producer=PRODUCER)  # type: ignore[type-var]
            versions[kind][name] = manifest.version
    return versions


def gathered(store: Store, kind: GatheredKind, names: list[str], **changes: Any) -> Gathered:
    return gather(store, kind, **({"shards": names, "producer": PRODUCER} | shards_of(store, names) | changes))


@pytest.mark.parametrize(("kind", "split"), [("training_dataset", "training"), ("benchmark", "benchmark")])
def test_admitted_questions_of_one_split_and_their_histories(tmp_path: Path, kind: GatheredKind, split: str) -> None:
    store = Store(tmp_path)
    result = gathered(store, kind, ["0", "1", "2"])
    assert all(finding.passed for finding in result.findings), result.findings
    questions = read_questions(store, kind, result.manifest.version)
    assert questions == sorted(
        (q for q in rooms().questions if q.split == split and q.certificate.admitted), key=lambda q: q.question_id
    )
    histories = read_histories(store, kind, result.manifest.version)
    assert {row.split for row in histories} == {split}
    assert {q.person_id for q in questions} <= {row.person_id for row in histories}
    assert set(result.manifest.parents) == {f"{name}/{i}" for name in ("histories", "questions") for i in range(3)}
    assert result.funnel["written"] == sum(q.split == split for q in rooms().questions)
    assert result.funnel["admitted"] == len(questions) == sum(result.balance["pref_type"].values())
    assert not list(tmp_path.glob(".gather-*")), "nothing half-made is left"


def test_the_same_rows_in_other_shards_are_the_same_files(tmp_path: Path) -> None:
    one = gathered(Store(tmp_path), "benchmark", ["0"])
    three = gathered(Store(tmp_path), "benchmark", ["a", "b", "c"])
    assert one.manifest.files == three.manifest.files


def test_a_missing_shard_is_an_error_and_stores_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    versions = shards_of(store, ["0", "1"])
    with pytest.raises(UserError) as raised:
        gather(store, "benchmark", histories=versions["histories"], questions={"0": versions["questions"]["0"]},
               shards=["0", "1"], producer=PRODUCER)  # fmt: skip
    assert '"questions_missing":["1"]' in str(raised.value)
    assert "materialize" in raised.value.remedy
    assert not (tmp_path / "benchmark").exists()


def test_a_damaged_shard_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    versions = shards_of(store, ["0"])
    damaged = store.path("questions", versions["questions"]["0"]) / "rows.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.raises(IntegrityError, match="sha256"):
        gather(store, "benchmark", shards=["0"], producer=PRODUCER, **versions)


def test_a_person_in_both_splits_is_found() -> None:
    moved = rooms().histories[0].model_copy(update={"split": "benchmark"})
    finding = disjoint_persons([*rooms().histories, moved], rooms().questions)
    assert not finding.passed
    assert finding.facts["shared_persons"] == [moved.person_id]


def test_a_revealing_turn_in_both_splits_is_found() -> None:
    assert disjoint_persons(rooms().histories, rooms().questions).passed
    first = next(history for history in rooms().histories if history.split == "training")
    copied = first.model_copy(update={"split": "benchmark", "person_id": "b.copy"})
    finding = disjoint_persons([*rooms().histories, copied], rooms().questions)
    assert not finding.passed and finding.facts["shared_persons"] == []
    said = {m.content for s in first.sessions if s.event in ("reveals", "updates") for m in s.messages}
    assert finding.facts["shared_revealing_turns"] and set(finding.facts["shared_revealing_turns"]) <= said


def test_a_question_about_a_preference_is_shared_whatever_its_distractors() -> None:
    question = rooms().questions[0]
    other = ("Something else entirely", *question.incorrect_answers[1:])
    copied = question.model_copy(update={"question_id": "b.q", "split": "benchmark", "incorrect_answers": other})
    assert disjoint_items([*rooms().questions, copied]).facts["shared_items"] == ["b.q"]


def test_an_item_in_both_splits_is_found() -> None:
    assert disjoint_items(rooms().questions).passed
    question = rooms().questions[0]
    first, second, third = question.incorrect_answers
    copied = question.model_copy(
        update={"question_id": "b.q", "split": "benchmark", "incorrect_answers": (third, first, second)}
    )
    finding = disjoint_items([*rooms().questions, copied])
    assert not finding.passed
    assert finding.facts["shared_items"] == ["b.q"]


def test_a_question_without_its_evidence_is_found() -> None:
    assert whole_evidence(rooms().histories, rooms().questions).passed
    assert not whole_evidence(rooms().histories[1:], rooms().questions).passed
    bare = rooms().questions[0].model_copy(update={"evidence": ()})
    assert whole_evidence(rooms().histories, [bare]).facts["questions_without_evidence"] == [bare.question_id]


def test_funnel_and_balance_count() -> None:
    question = rooms().questions[0]
    refused = question.certificate.model_copy(update={"admitted": False, "reasons": ("blind: x", "leak: y")})
    admitted = question.certificate.model_copy(update={"admitted": True, "reasons": (), "length_rank": 3})
    rows = [question.model_copy(update={"certificate": c}) for c in (refused, refused, admitted)]
    assert funnel(rows) == {
        "written": 3, "refused": {"blind": 2, "leak": 2}, "admitted": 1,
        "right_is_longest": 1.0, "right_is_shortest": 0.0,
    }  # fmt: skip
    assert balance(rows)["pref_type"] == {question.pref_type: 3}
    assert funnel([])["admitted"] == 0
