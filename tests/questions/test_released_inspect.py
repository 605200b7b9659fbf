"""The report on released files: everything is accounted for, nothing crashes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import ReleasedConfig
from personamem_pipeline.questions.released_checks import KINDS
from personamem_pipeline.questions.released_inspect import inspect_released
from personamem_pipeline.questions.released_records import released_seeds
from personamem_pipeline.questions.released_report import ReleasedReport
from tests.questions.released_files import (
    CHATTER,
    FORGET,
    PROFILE,
    TEA,
    cells,
    small,
    snippet,
    table,
    turn,
    write_history,
    write_table,
)


def counts(report: ReleasedReport) -> dict[str, int]:
    return {flaw.kind: flaw.count for flaw in report.flaws}


def one(root: Path, rows: list[dict[str, str]]) -> ReleasedConfig:
    write_table(root / "text/benchmark.csv", rows)
    return ReleasedConfig(root=str(root), training=(), benchmark="text/benchmark.csv")


def test_sound_files_are_faultless(tmp_path: Path) -> None:
    write_history(tmp_path, 7, [PROFILE, *CHATTER, *TEA])
    report = inspect_released(one(tmp_path, [cells(7), cells(7, user_query=repr(turn("user", "What else?")))]))
    assert report.faultless and report.flaws == () and report.rejections == ()
    assert report.evidence == {"exact": 2, "normalised": 0, "scattered": 0, "partial": 0, "none": 0}
    report.refuse()


def test_overlap_and_lacking_evidence_are_counted(tmp_path: Path) -> None:
    report = inspect_released(small(tmp_path))
    assert counts(report) == {"split_overlap": 1, "no_evidence": 1, "shared_person": 1}
    assert [(t.path.rpartition("/")[2], t.split, t.rows, t.usable, t.lost) for t in report.tables] == [
        ("benchmark.csv", "benchmark", 2, 2, 0),
        ("train.csv", "training", 3, 3, 0),
        ("val.csv", "training", 2, 1, 1),
    ]
    assert [(r.person_id, r.reason.partition(":")[0]) for r in report.rejections] == [("p0009", "split_overlap")]
    assert not report.faultless


FLAWED = {
    "unknown_type": {"pref_type": "taste"},
    "unknown_scenario": {"conversation_scenario": "phone_call"},
    "unknown_who": {"who": "them"},
    "empty_text": {"correct_answer": " "},
    "image_query": {"user_query": repr({"content": [{"type": "image_url"}]})},
    "wrong_option_count": {"incorrect_answers": '["one", "two"]'},
    "right_option_twice": {"incorrect_answers": '["A pot of green tea.", "two", "three"]'},
    "duplicate_options": {"incorrect_answers": '["two", "two ", "three"]'},
    "other_encoding": {"incorrect_answers": "['one', 'two', 'three']"},
    "update_without_previous": {"updated": "True"},
    "previous_without_update": {"prev_pref": "Milk"},
    "forget_without_previous": {"pref_type": "ask_to_forget", "related_conversation_snippet": snippet(FORGET)},
    "forget_without_request": {"pref_type": "ask_to_forget", "prev_pref": "Green tea", "updated": "True"},
    "spelling_variant": {"pref_type": "neutral_preference"},
    "partial_evidence": {"related_conversation_snippet": snippet([TEA[0] | {"content": TEA[0]["content"] + " Well?"}])},
    "no_evidence": {"related_conversation_snippet": ""},
    "bad_value": {"updated": "maybe"},
    "duplicate_row": {},
    "duplicate_query": {"correct_answer": "Tea."},
    "conflicting_person": {"user_query": repr(turn("user", "Hm?")), "expanded_persona": '{"name": "Bo"}'},
}


@pytest.mark.parametrize("kind", FLAWED)
def test_every_flaw_of_a_row_is_found_and_only_it(tmp_path: Path, kind: str) -> None:
    write_history(tmp_path, 7, [PROFILE, *CHATTER, *TEA, *FORGET])
    changed = FLAWED[kind]
    if kind not in ("duplicate_row", "duplicate_query"):
        changed = {"user_query": repr(turn("user", "Another?"))} | changed
    report = inspect_released(one(tmp_path, [cells(7), cells(7, **changed)]))
    assert counts(report) == {kind: 1}
    (flaw,) = report.flaws
    lost = KINDS[kind][0] == "lost"
    assert flaw.first[0].startswith("p0007:" if kind == "conflicting_person" else "text/benchmark.csv:9:")
    assert (len(report.rejections), report.tables[0].usable, report.tables[0].lost) == (lost, 2 - lost, int(lost))
    assert report.faultless is (kind == "spelling_variant")


def test_histories_are_checked(tmp_path: Path) -> None:
    write_history(tmp_path, 7, [PROFILE, *TEA], total_messages=189)
    write_history(tmp_path, 8, [PROFILE, *TEA], persona_id=88)
    write_history(tmp_path, 9, TEA).write_text('{"chat_history": [')
    rows = [
        *(cells(person) for person in (7, 8, 9, 10)),
        cells(11, chat_history_32k_link="../../etc/passwd"),
        cells(12, chat_history_32k_link=""),
    ]
    report = inspect_released(one(tmp_path, rows))
    assert counts(report) == {"missing_history": 2, "unreadable_history": 2, "cut_history": 1, "foreign_history": 1}
    assert (report.tables[0].usable, report.tables[0].lost, len(report.rejections)) == (2, 4, 4)


def test_nothing_is_lost_silently(tmp_path: Path) -> None:
    config = small(tmp_path)
    path = tmp_path / "text/train.csv"
    rows = table([cells(7, persona_id="seven"), cells(7, user_query="{'"), cells(70)]).partition(b"\r\n")[2]
    path.write_bytes(path.read_bytes() + rows + b"8,\xff\r\n")
    report = inspect_released(config)
    assert sum(t.rows for t in report.tables) == sum(t.usable for t in report.tables) + len(report.rejections)
    assert sum(flaw.count for flaw in report.flaws if flaw.weight == "lost") == len(report.rejections)
    assert {"bad_value", "broken_literal", "missing_history", "not_utf8"} <= set(counts(report))


def test_lengths_that_give_the_answer_away(tmp_path: Path) -> None:
    write_history(tmp_path, 7, [PROFILE, *TEA])
    rows = [
        cells(7, user_query=repr(turn("user", f"{index}?")), correct_answer="x" * (50 if index < 7 else 10))
        for index in range(20)
    ]
    report = inspect_released(one(tmp_path, [*rows, cells(7, who="others", pref_type="therapy_background")]))
    assert [(x.pref_type, x.rows, x.longest, x.shortest) for x in report.lengths] == [
        ("neutral_preferences", 20, 0.35, 0.0),
        ("therapy_background", 1, 0.0, 0.0),
    ]
    assert counts(report) == {"length_giveaway": 1}


def test_a_table_without_rows_and_two_persons_with_one_sentence(tmp_path: Path) -> None:
    assert counts(inspect_released(one(tmp_path, []))) == {"no_rows": 1}
    for person in (7, 8):
        write_history(tmp_path, person, [PROFILE, *TEA])
    twins = [cells(7, short_persona="A nurse."), cells(8, short_persona="A nurse.")]
    assert counts(inspect_released(one(tmp_path, twins))) == {"duplicate_persona": 1}


def test_strict_refuses_with_the_head_of_the_report(tmp_path: Path) -> None:
    config = small(tmp_path)
    assert released_seeds(config)
    with pytest.raises(UserError, match=r"1 x split_overlap .*val\.csv:9") as raised:
        released_seeds(config.model_copy(update={"strict": True}))
    assert "personamem released check" in str(raised.value)


def test_the_report_can_be_printed_and_parsed(tmp_path: Path) -> None:
    report = inspect_released(small(tmp_path))
    text = report.markdown()
    assert text.count("\n### ") + text.startswith("### ") == 4 and "| lost | split_overlap | 1 |" in text
    assert ReleasedReport.model_validate(json.loads(report.model_dump_json())) == report
