"""Gathered datasets hold what they promise, and a broken promise is found."""

from __future__ import annotations

import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from personamem_pipeline.arrow import stream_parquet
from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.questions.gather import SPLITS, GatheredKind, read_histories, read_questions
from personamem_pipeline.records import Persona, PersonaSeed, Preference, Question, Rejection
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.store import Store
from tests.questions.dealt import (
    CONFIG,
    deal,
    findings,
    gathered,
    made_history,
    made_question,
    people,
    refused,
    split_of,
)
from tests.rooms import rooms

PROMISES = {
    "completeness", "disjoint persons", "disjoint items", "whole evidence", "no near duplicates", "within bounds",
    "balanced",
}  # fmt: skip


def rejected_rows(store: Store, kind: str, version: str) -> list[Rejection]:
    return list(stream_parquet(store.verified(kind, version) / "rejected.parquet", Rejection))


@pytest.mark.parametrize(("kind", "split"), [("training_dataset", "training"), ("benchmark", "benchmark")])
def test_one_splits_rows_admitted_or_rejected_and_none_lost(tmp_path: Path, kind: GatheredKind, split: str) -> None:
    histories, questions = people()
    questions[0] = made_question("t0000", 0, certificate=refused("blind: 0.75\nand more", "leak: yes"))
    questions[-1] = made_question("b0003", 6, certificate=refused("oracle: no"))
    lost = Rejection(
        row_id=f"{split[0]}0001.p9.q0", person_id=f"{split[0]}0001", reason="reply: truncated", content="{"
    )
    store = Store(tmp_path)
    result = gathered(store, kind, deal(store, histories, questions, ["0", "1", "2"], [lost]))
    assert findings(result) == dict.fromkeys(PROMISES, True), result.findings
    admitted = read_questions(store, kind, result.manifest.version)
    assert admitted == sorted(
        (q for q in questions if q.split == split and q.certificate.admitted), key=lambda q: q.question_id
    )
    read = read_histories(store, kind, result.manifest.version)
    assert read == [history for history in sorted(histories, key=lambda h: h.person_id) if history.split == split]
    rejected = rejected_rows(store, kind, result.manifest.version)
    own = [question for question in questions if question.split == split]
    assert {row.row_id for row in rejected} | {q.question_id for q in admitted} == {q.question_id for q in own} | {
        lost.row_id
    }
    assert len(rejected) + len(admitted) == len(own) + 1 == result.funnel["planned"]
    assert rejected[0] == lost
    by_certificate = rejected[1]
    if split == "training":
        assert by_certificate.reason == "blind: 0.75 and more\nleak: yes", "all reasons, one a line"
        assert result.funnel["refused"] == {"blind": 1, "leak": 1}
    assert "Query of" in by_certificate.content
    assert set(result.manifest.parents) == {f"{name}/{i}" for name in ("histories", "questions") for i in range(3)}
    assert not list(tmp_path.glob(".gather-*")), "nothing half-made is left"


def test_the_same_rows_are_the_same_files_however_they_are_dealt(tmp_path: Path) -> None:
    histories, questions = people()
    questions[3] = made_question("t0000", 3, certificate=refused("blind: x"))
    dealt = [(histories, questions, ["0"]), (histories[::-1], questions[::-1], ["a", "b", "c"])]
    stores = [Store(tmp_path / str(index)) for index in range(len(dealt))]
    made = [
        gathered(store, "training_dataset", deal(store, *rows)).manifest.files
        for store, rows in zip(stores, dealt, strict=True)
    ]
    assert made[0] == made[1]


def test_the_order_in_which_shards_are_given_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    versions = deal(store, *people(), ["0", "1", "2"])
    made = set()
    for order in permutations(["0", "1", "2"]):
        shuffled = {kind: {name: found[name] for name in order} for kind, found in versions.items()}
        made.add(gathered(store, "benchmark", shuffled, shards=order).manifest.version)
    assert len(made) == 1


def test_a_missing_shard_is_an_error_and_stores_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    versions = deal(store, *people(), ["0", "1"])
    del versions["questions"]["1"]
    with pytest.raises(UserError) as raised:
        gathered(store, "benchmark", versions)
    assert '"questions_missing":["1"]' in str(raised.value)
    assert "materialize" in raised.value.remedy
    assert not (tmp_path / "benchmark").exists()


def test_a_damaged_shard_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    versions = deal(store, *people())
    damaged = store.path("questions", versions["questions"]["0"]) / "rows.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.raises(IntegrityError, match="sha256"):
        gathered(store, "benchmark", versions)


def test_a_row_in_two_shards_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    histories, questions = people()
    versions = deal(store, histories, questions, ["0", "1"])
    again = deal(store, histories[:1], [], ["0"])
    versions["histories"]["1"] = again["histories"]["0"]
    with pytest.raises(UserError, match="t0000 occurs twice"):
        gathered(store, "training_dataset", versions)


def test_a_shard_in_another_layout_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    versions = deal(store, *people())
    (tmp_path / "old").mkdir()
    pq.write_table(pa.table({"question_id": ["q"]}), tmp_path / "old" / "rows.parquet")
    old = store.put_directory("questions", tmp_path / "old", parents={}, producer={}).version
    with pytest.raises(UserError) as raised:
        gathered(store, "benchmark", versions | {"questions": {"0": old}})
    assert "the columns are question_id" in str(raised.value) and "again" in raised.value.remedy


def test_a_person_in_both_splits_is_found(tmp_path: Path) -> None:
    histories, questions = people()
    moved = histories[0].model_copy(update={"split": "benchmark"})
    store = Store(tmp_path)
    result = gathered(store, "benchmark", deal(store, [*histories, moved], questions))
    finding = next(finding for finding in result.findings if finding.name == "disjoint persons")
    assert not finding.passed and finding.facts["shared_persons"] == ["t0000"]


def test_a_revealing_turn_in_both_splits_is_found(tmp_path: Path) -> None:
    histories, questions = people()
    for place, person in ((0, "t0000"), (-1, "b0003")):
        histories[place] = made_history(person, said="Only a short line.")
    store = Store(tmp_path)
    for kind in ("training_dataset", "benchmark"):
        result = gathered(store, kind, deal(store, histories, questions))  # type: ignore[arg-type]
        finding = next(finding for finding in result.findings if finding.name == "disjoint persons")
        assert not finding.passed and finding.facts["shared_persons"] == []
        assert finding.facts["shared_revealing_turns"] == ["t0000.s0.m0 = b0003.s0.m0"]


def test_an_item_in_both_splits_is_found_whatever_its_distractors(tmp_path: Path) -> None:
    histories, questions = people()
    same = {"user_query": questions[0].user_query, "preference": questions[0].preference}
    questions[-1] = made_question("b0003", 6, **same)
    store = Store(tmp_path)
    result = gathered(store, "training_dataset", deal(store, histories, questions))
    finding = next(finding for finding in result.findings if finding.name == "disjoint items")
    assert not finding.passed and finding.facts["shared_items"] == ["b0003.p6.q0"]
    questions[-1] = made_question("b0003", 6, certificate=refused("blind: x"), **same)
    assert findings(gathered(store, "training_dataset", deal(store, histories, questions)))["disjoint items"]


def test_a_near_verbatim_text_in_both_splits_is_found(tmp_path: Path) -> None:
    histories, questions = people()
    words = [f"word{number}" for number in range(60)]
    histories[0] = made_history("t0000", said=" ".join(words))
    histories[-1] = made_history("b0003", said=" ".join([*words[:30], "other", *words[31:]]))
    store = Store(tmp_path)
    result = gathered(store, "benchmark", deal(store, histories, questions))
    assert not findings(result)["no near duplicates"] and findings(result)["disjoint persons"]
    questions[0] = made_question("t0000", correct_answer=" ".join(words[::-1]), certificate={"longest_guess": 0.0})
    questions[-1] = made_question("b0003", 6, user_query=" ".join(words[::-1]).upper())
    result = gathered(store, "benchmark", deal(store, people()[0], questions))
    finding = next(finding for finding in result.findings if finding.name == "no near duplicates")
    assert "t0000.p0.q0 answer ~ b0003.p6.q0 query (1.00)" in finding.facts["nearest"][0]


@pytest.mark.parametrize("evidence", [(), ("elsewhere",)])
def test_a_question_without_its_evidence_is_found(tmp_path: Path, evidence: tuple[str, ...]) -> None:
    histories, questions = people()
    questions[-1] = made_question("b0003", 6, evidence=evidence)
    store = Store(tmp_path)
    versions = deal(store, histories, questions)
    finding = next(f for f in gathered(store, "benchmark", versions).findings if f.name == "whole evidence")
    assert finding.facts["questions_without_evidence"] == ["b0003.p6.q0"]
    uncertified = findings(gathered(store, "benchmark", versions, certified=False))
    assert uncertified["whole evidence"] == (not evidence), (
        "released rows may lack it, but not name turns that are not there"
    )


def test_a_question_of_a_person_without_history_is_found(tmp_path: Path) -> None:
    histories, questions = people()
    store = Store(tmp_path)
    assert not findings(gathered(store, "training_dataset", deal(store, histories[1:], questions)))["whole evidence"]


def test_rows_that_the_right_options_length_gives_away_go_until_the_bounds_hold(tmp_path: Path) -> None:
    histories, questions = people(training=2, benchmark=40)
    questions = [
        question.model_copy(
            update={
                "certificate": question.certificate.model_copy(update={"longest_guess": 1.0, "shortest_guess": 0.0})
            }
        )
        if question.pref_type == "stereotypical_pref" and int(question.person_id[1:]) % 2
        else question
        for question in questions
    ]
    store = Store(tmp_path)
    versions = deal(store, histories, questions)
    result = gathered(store, "benchmark", versions)
    figures = result.slices["stereotypical_pref"]
    assert 0.25 < figures["longest"] <= CONFIG.max_length_guess and figures["shortest"] <= CONFIG.max_length_guess
    assert all(
        result.slices[name]["questions"] == 40 for name in result.slices if name not in ("all", "stereotypical_pref")
    )
    gone = [r for r in rejected_rows(store, "benchmark", result.manifest.version) if r.reason.startswith("length: ")]
    assert len(gone) == 40 - figures["questions"] == result.funnel["refused"]["length"] > 0
    assert findings(result)["within bounds"]
    kept = gathered(store, "benchmark", versions, certified=False)
    assert kept.slices["stereotypical_pref"]["questions"] == 40, "nothing goes from released rows"
    assert kept.funnel["refused"] == {}


def test_the_funnel_goes_back_to_the_seeds(tmp_path: Path) -> None:
    store = Store(tmp_path)
    names = ["t0000", "t0001", "b0000", "b0001"]
    seeds = [PersonaSeed(person_id=name, split=split_of(name), persona="Somebody.") for name in names]
    broken = [Rejection(row_id="seeds.jsonl:9", person_id="", reason="json: cut off")]
    seed_version = store.write_rows(
        "persona_seeds", PersonaSeed, seeds, parents={}, producer={}, rejected=broken
    ).version
    preference = Preference(preference_id="t0000.p7", topic="tea", text="tea", pref_type="sensitive_info")
    personas = [
        Persona(person_id=name, split=split_of(name), seed_persona="S.", name="N.", profile={},
                preferences=(preference,), author="simulator/1")
        for name in names if name != "b0001"
    ]  # fmt: skip
    gone = [
        Rejection(row_id="b0001", person_id="b0001", reason="schema: no name"),
        Rejection(row_id="t0000.p3", person_id="t0000", reason="duplicate: of p1"),
    ]
    persona_version = store.write_rows(
        "personas", Persona, personas, parents={"persona_seeds": seed_version},
        producer={"code_version": "personas/9", "llm_calls": "4"}, rejected=gone,
    ).version  # fmt: skip
    unwritten = Rejection(row_id="t0000.p7.q0", person_id="t0000", reason="reply: none")
    histories, questions = people(2, 1)
    versions = deal(store, histories, questions, ["0"], [unwritten], {"personas": persona_version})
    training = gathered(store, "training_dataset", versions, personas={"0": persona_version})
    stages = training.funnel["by_stage"]
    assert stages["persona_seeds"] == {"planned": 3, "kept": 2, "rejected": 1, "reasons": {"json": 1}}
    assert stages["personas"] == {"planned": 2, "kept": 2, "rejected": 0, "reasons": {"duplicate": 1}}
    assert stages["questions"] == {"planned": 15, "kept": 14, "rejected": 1, "reasons": {"reply": 1}}
    sensitive = training.funnel["by_type"]["sensitive_info"]
    assert sensitive == {"planned": 3, "admitted": 2, "rejected": {"reply": 1}}, "its type is the planned preference's"
    kept = rejected_rows(store, "training_dataset", training.manifest.version)
    assert [row.row_id for row in kept] == ["seeds.jsonl:9", "t0000.p3", "t0000.p7.q0"]
    assert training.manifest.parents["personas/0"] == persona_version
    benchmark = gathered(store, "benchmark", versions).funnel["by_stage"]
    assert benchmark["persona_seeds"]["reasons"] == {"json": 1}, "nobody's row is in both"
    assert benchmark["personas"] == {"planned": 2, "kept": 1, "rejected": 1, "reasons": {"schema": 1}}
    for row in stages.values():
        assert row["planned"] == row["kept"] + row["rejected"]


DEAL = """
import sys
from personamem_pipeline.records import History, Question
from personamem_pipeline.store import Store
from tests.questions.dealt import made_history, made_question
store, size = Store(sys.argv[1]), int(sys.argv[2])
def long(name):
    session = made_history(name).sessions[0]
    turns = tuple(m.model_copy(update={"content": f"{name} {m.turn_id} " + "word " * 16000}) for m in session.messages)
    return made_history(name).model_copy(update={"sessions": (session.model_copy(update={"messages": turns}),)})
for shard in range(2):
    names = [f"{'b' if n % 10 == shard else 't'}{n:04d}" for n in range(shard, size, 2)]
    for kind, record, rows in (
        ("histories", History, map(long, names)), ("questions", Question, (made_question(n) for n in names))
    ):
        print(store.write_rows(kind, record, rows, parents={}, producer={}).version)
"""
PEAK = """
import resource, sys
from personamem_pipeline.store import Store
from tests.questions.dealt import gathered
h0, q0, h1, q1 = sys.argv[2:]
gathered(Store(sys.argv[1]), "training_dataset", {"histories": {"0": h0, "1": h1}, "questions": {"0": q0, "1": q1}})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
def test_memory_stays_flat_when_there_are_ten_times_as_many_persons(tmp_path: Path) -> None:
    def python(code: str, *arguments: object) -> list[str]:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=PROJECT).stdout.split()

    peaks = [
        float(python(PEAK, place, *python(DEAL, place, size))[0])
        for place, size in ((tmp_path / "small", 60), (tmp_path / "large", 600))
    ]
    text = 600 * 2 * 16000 * 5 / 2**20
    assert peaks[1] - peaks[0] < text / 4, f"{peaks} MiB for ten times the rows, {text:.0f} MiB of text"


def test_rows_of_questions_come_back_as_they_were(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = gathered(store, "benchmark", deal(store, *people()))
    path = store.path("benchmark", made.manifest.version) / "questions.parquet"
    assert list(stream_parquet(path, Question)) == read_questions(store, "benchmark", made.manifest.version)


@pytest.mark.parametrize("kind", ["training_dataset", "benchmark"])
def test_the_simulators_rows_keep_every_promise(tmp_path: Path, kind: GatheredKind) -> None:
    store = Store(tmp_path)
    result = gathered(store, kind, deal(store, rooms().histories, rooms().questions, ["0", "1"]))
    assert findings(result) == dict.fromkeys(PROMISES, True), result.findings
    own = {question.question_id for question in rooms().questions if split_of(question.person_id) == SPLITS[kind]}
    admitted = {question.question_id for question in read_questions(store, kind, result.manifest.version)}
    rejected = {row.row_id for row in rejected_rows(store, kind, result.manifest.version)}
    assert admitted | rejected == own and not admitted & rejected


def test_persons_with_all_the_same_preferences_are_found_across_the_splits(tmp_path: Path) -> None:
    store = Store(tmp_path)
    histories, questions = people()
    rows = [
        Persona(
            person_id=name, split=split_of(name), seed_persona="A baker.", name="A", profile={}, author="a",
            preferences=(
                Preference(preference_id=f"{name}.p0", topic="t", text=text, pref_type="neutral_preferences"),
            ),
        )
        for name, text in {"t0000": "Green tea", "t0001": "coffee", "b0000": "green tea"}.items()
    ]  # fmt: skip
    version = store.write_rows("personas", Persona, rows, parents={}, producer={}).version
    result = gathered(store, "benchmark", deal(store, histories, questions), personas={"0": version})
    finding = next(finding for finding in result.findings if finding.name == "disjoint persons")
    assert not finding.passed and finding.facts["persons_with_the_same_preferences"] == ["t0000 = b0000"]
