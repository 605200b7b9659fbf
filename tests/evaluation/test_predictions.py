"""The file contract: what is handed out, what is refused and how it is told, and that scores are the report's own."""

from __future__ import annotations

import argparse
import json
import string
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.asked import ask, asked
from personamem_pipeline.evaluation.cli_predictions import add_prediction_commands
from personamem_pipeline.evaluation.find_source import find_source
from personamem_pipeline.evaluation.handout import hand_out, history_name
from personamem_pipeline.evaluation.predictions import Predictions, check
from personamem_pipeline.evaluation.predictions_file import read_predictions, write_predictions
from personamem_pipeline.evaluation.predictions_score import print_score, score_predictions
from personamem_pipeline.evaluation.records import Reply
from personamem_pipeline.evaluation.released_source import released_source
from personamem_pipeline.evaluation.source import Source
from personamem_pipeline.evaluation.systems.base import Named
from personamem_pipeline.evaluation.systems.context import FullContext
from personamem_pipeline.memory.generators.scripted import ScriptedGenerator
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.questions.released import read_history
from personamem_pipeline.records import Question
from personamem_pipeline.settings import load_settings
from personamem_pipeline.store import Store
from tests.questions.released_files import ABSENT, REAL_CSV, REAL_HISTORY, cells, small, write_table

Row = dict[str, Any]
RESAMPLES = 50


def written(path: Path, rows: Iterable[Row | str | bytes]) -> Path:
    lines = (
        row if isinstance(row, bytes) else (row if isinstance(row, str) else json.dumps(row)).encode() for row in rows
    )
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def rows_of(source: Source, pick: Callable[[Question, int], str], orders: int = 1) -> list[Row]:
    return [
        {"question_id": question.question_id, "hypothesis": pick(question, order), "order": order}
        for question in source.questions
        for order in range(orders)
    ]


def right(question: Question, order: int) -> str:
    return rf"\boxed{{{ask(question, 0, order).right}}}"


def score(path: Path, source: Source, **how: Any) -> dict[str, Any]:
    return score_predictions(path, source, resamples=RESAMPLES, **how)


# What is handed out.


def test_the_handout_holds_what_is_asked_and_no_gold(tmp_path: Path, source: Source) -> None:
    assert hand_out(source, tmp_path / "out") == (32, 8)
    rows = [json.loads(line) for line in (tmp_path / "out/questions.jsonl").read_text().splitlines()]
    assert [set(row) for row in rows] == [{"question_id", "person_id", "history", "user_query", "options"}] * 32
    for row, question in zip(rows, source.questions, strict=True):
        assert row["options"] == [dict(ask(question, 0, order).options) for order in (0, 1)]
        messages = read_history(tmp_path / "out" / row["history"]).messages
        own = next(person for person in source.people() if person.person_id == row["person_id"])
        assert [(m.role, m.content) for m in messages] == [(m.role, m.content) for m in own.history.messages]
    assert json.loads((tmp_path / "out/benchmark.json").read_text()) == {
        "benchmark": "by hand", "seed": 0, "orders": 2, "questions": 32, "people": 8,
    }  # fmt: skip


def test_no_label_changes_a_byte_of_the_handout(tmp_path: Path, source: Source) -> None:
    """Whatever the gold fields say, the files are the same: they cannot be read from them."""
    poisoned = [
        question.model_copy(
            update={
                "preference": "POISON", "preference_id": "POISON", "topic": "POISON", "prev_pref": "POISON",
                "pref_type": "sensitive_info", "who": "others", "updated": not question.updated, "evidence": ("POISON",),
                "incorrect_kinds": ("leak", "wrong", "helpless"), "author": "POISON", "wording": "unseen",
            }
        )
        for question in source.questions
    ]  # fmt: skip
    for name, questions in (("clean", source.questions), ("poisoned", poisoned)):
        hand_out(replace(source, questions=questions), tmp_path / name)
    files = [path.relative_to(tmp_path / "clean") for path in (tmp_path / "clean").rglob("*") if path.is_file()]
    assert len(files) == 2 + 8
    for name in files:
        assert (tmp_path / "clean" / name).read_bytes() == (tmp_path / "poisoned" / name).read_bytes()


def test_the_place_of_the_right_option_is_not_told_by_its_letter(source: Source) -> None:
    letters = {ask(question, 0, order).right for question in source.questions for order in range(4)}
    assert letters == set("abcd")


@pytest.mark.parametrize("name", ["../../evil", "a/b", "..", "p 1\n", "ä" * 9])
def test_an_id_is_no_path(tmp_path: Path, name: str) -> None:
    path = tmp_path / history_name(name)
    assert path.parent == tmp_path / "histories" and "\n" not in path.name


def test_a_handout_overwrites_nothing(tmp_path: Path, source: Source) -> None:
    (tmp_path / "mine").write_text("work")
    with pytest.raises(UserError, match="something already"):
        hand_out(source, tmp_path)
    assert (tmp_path / "mine").read_text() == "work"


# Scores.


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(orders=st.integers(1, 5), seed=st.integers(0, 9))
def test_right_letters_score_one_and_wrong_ones_zero(tmp_path: Path, source: Source, orders: int, seed: int) -> None:
    source = replace(source, seed=seed)
    for shift, accuracy in ((0, 1.0), (1, 0.0)):

        def pick(question: Question, order: int, shift: int = shift) -> str:
            letter = ask(question, seed, order).right
            return rf"\boxed{{{'abcd'[('abcd'.index(letter) + shift) % 4]}}}"

        found = score(written(tmp_path / "p.jsonl", rows_of(source, pick, orders)), source)
        assert found["system"]["accuracy"] == accuracy == found["system"]["accuracy_lenient"]
        assert (found["orders"], found["answered"], found["partial"]) == (orders, 32 * orders, False)
        assert all(row["accuracy"] == accuracy for row in found["types"])


def test_a_system_and_the_file_that_it_wrote_score_the_same(
    tmp_path: Path, source: Source, memory: MemoryConfig, model: Callable[[float], ScriptedGenerator]
) -> None:
    config = memory.model_copy(update={"protocol": "full_context"})
    system = FullContext(Named("whole", "whole chat", "baseline", open=True), model(1.0), config)
    batches = list(source.batches())
    replies = [reply for batch in batches for reply in system.run(batch).replies]
    path = tmp_path / "whole.jsonl"
    asked_after_all = sum(reply.moment == "end" for reply in replies)
    assert write_predictions(path, replies) == asked_after_all == 32 * 3 < len(replies)
    found = score(path, source)
    assert found["system"]["accuracy"] == 1.0 and found["open_answers"] == 32 and found["system"]["consistency"] == 1.0
    again = Predictions(Named("file", "file", "external", open=True), path, source)
    outputs = [again.run(batch) for batch in batches]
    key = {(reply.question_id, reply.order): reply.output for reply in replies if reply.moment == "end"}
    assert {(r.question_id, r.order): r.output for own in outputs for r in own.replies} == key
    closed = Predictions(Named("file", "file", "external"), path, source).run(batches[0])
    assert [(r.question_id, r.order) for r in closed.replies] == [
        (item.question.question_id, item.order) for item in asked(batches[0])
    ]


def test_both_parsers_are_reported_and_what_cannot_be_read_is_wrong(tmp_path: Path, source: Source) -> None:
    said = [r"\boxed{%s}", "The answer is (%s).", "I do not know"]
    rows = [
        {"question_id": q.question_id, "hypothesis": said[n % 3].replace("%s", ask(q, 0, 0).right)}
        for n, q in enumerate(source.questions)
    ]
    own = score(written(tmp_path / "p.jsonl", rows), source)["system"]
    assert own["accuracy"] == 11 / 32 and own["accuracy_lenient"] == 22 / 32
    assert own["unparseable"] == 21 and own["parsed_only_leniently"] == 11 and 0 < own["low"] < own["high"] < 1


def test_a_part_is_marked_as_one(tmp_path: Path, source: Source, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "p.jsonl", rows_of(source, right)[:12])
    with pytest.raises(UserError, match=r"20 of 32 answers missing \('b003.q0' order 0, .* and 17 more\)"):
        score(path, source)
    found = score(path, source, partial=True)
    assert found["partial"] and (found["answered"], found["expected"]) == (12, 32) and found["system"]["n"] == 12
    assert sum(found["types_missing"].values()) == 20
    print_score(found)
    shown = capsys.readouterr().out
    assert shown.startswith("PARTIAL: 12 of 32 answers.") and "Not comparable" in shown
    whole = score(written(tmp_path / "p.jsonl", rows_of(source, right)), source, partial=True)
    assert not whole["partial"]


def test_one_person_has_no_interval(tmp_path: Path, source: Source, capsys: pytest.CaptureFixture[str]) -> None:
    one = replace(source, questions=source.questions[:4])
    found = score(written(tmp_path / "p.jsonl", rows_of(one, right)), one)
    assert found["system"]["low"] is None
    print_score(found)
    assert "one person: none can be given" in capsys.readouterr().out


def test_open_answers_alone_are_for_judges(tmp_path: Path, source: Source) -> None:
    rows = [{"question_id": q.question_id, "hypothesis": "Tea.", "open": True} for q in source.questions]
    with pytest.raises(UserError, match="all 32 answers are open"):
        score(written(tmp_path / "p.jsonl", rows), source)


# What is refused.

GOOD = {"question_id": "b000.q0", "hypothesis": "a"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "1 not JSON (line 2: "),
        ("NaN", "1 not an object (line 2)"),
        ("[" * 100_000, "1 not JSON (line 2: RecursionError)"),
        ('{"order": ' + "9" * 5000 + "}", "1 not JSON (line 2: ValueError)"),
        (b"\xff\xfe", "1 not UTF-8 (line 2)"),
        ('["b000.q0", "a"]', "1 not an object (line 2)"),
        ({"hypothesis": "a"}, "1 without `question_id` (line 2)"),
        ({"question_id": "b000.q1"}, "1 without `hypothesis` (line 2)"),
        (GOOD | {"question_id": 7}, "1 with a `question_id` that is no text (line 2: 7)"),
        (GOOD | {"hypothesis": None}, "1 with a `hypothesis` that is no text (line 2: None)"),
        (GOOD | {"hypothesis": ["a"]}, "1 with a `hypothesis` that is no text (line 2: ['a'])"),
        ('{"question_id": "b000.q1", "hypothesis": "\\ud800"}', "1 with half a character in `hypothesis` (line 2)"),
        (GOOD | {"order": "1"}, "1 with an `order` that is no whole number (line 2: '1')"),
        (GOOD | {"order": 1.0}, "1 with an `order` that is no whole number (line 2: 1.0)"),
        (GOOD | {"order": True}, "1 with an `order` that is no whole number (line 2: True)"),
        (GOOD | {"order": -1}, "1 order out of range, 0 to 23 (line 2: -1)"),
        (GOOD | {"order": 10**20}, "1 order out of range, 0 to 23 (line 2: a huge number)"),
        (GOOD | {"open": "yes"}, "1 with an `open` that is not true or false (line 2: 'yes')"),
        (GOOD | {"open": True, "order": 0}, "1 open and with an `order`: without options there is none (line 2)"),
        (GOOD, "1 answered twice (lines 1 and 2: 'b000.q0' order 0)"),
        (GOOD | {"order": 0}, "1 answered twice (lines 1 and 2: 'b000.q0' order 0)"),
    ],
)
def test_a_line_that_is_no_row_is_told_with_its_number(tmp_path: Path, line: Row | str | bytes, told: str) -> None:
    path = written(tmp_path / "p.jsonl", [GOOD, line])
    with pytest.raises(UserError) as caught:
        read_predictions(path)
    assert caught.value.problem.startswith(told) and caught.value.where == str(path)
    assert "question_id" in caught.value.expected and caught.value.remedy


def test_all_faults_are_told_at_once(tmp_path: Path, source: Source) -> None:
    path = written(tmp_path / "p.jsonl", [*["{"] * 5, GOOD, GOOD, '"x"'])
    with pytest.raises(UserError) as caught:
        read_predictions(path)
    assert caught.value.problem == (
        "5 not JSON (line 1: Expecting property name enclosed in double quotes at column 2, "
        "line 2: Expecting property name enclosed in double quotes at column 2, "
        "line 3: Expecting property name enclosed in double quotes at column 2, and 2 more); "
        "1 answered twice (lines 6 and 7: 'b000.q0' order 0); 1 not an object (line 8)"
    )
    rows = [*rows_of(source, right)[1:], {"question_id": "who?", "hypothesis": "a"}, GOOD | {"order": 3}]
    with pytest.raises(UserError) as caught:
        score(written(path, rows), source, orders=1)
    assert caught.value.problem == (
        "1 unknown question_id (line 32: 'who?'); 1 order out of range, 0 to 0 are asked (line 33: 3); "
        "1 of 32 answers missing ('b000.q0' order 0)"
    )


def test_unknown_questions_are_refused_in_a_part_too(tmp_path: Path, source: Source) -> None:
    path = written(tmp_path / "p.jsonl", [GOOD, {"question_id": "who?", "hypothesis": "a"}])
    with pytest.raises(UserError, match=r"1 unknown question_id \(line 2: 'who\?'\)"):
        score(path, source, partial=True)


def test_orders_that_were_asked_for_must_be_there(tmp_path: Path, source: Source) -> None:
    path = written(tmp_path / "p.jsonl", rows_of(source, right, 1))
    assert score(path, source)["orders"] == 1
    with pytest.raises(UserError, match="32 of 64 answers missing"):
        score(path, source, orders=2)
    opened = {"question_id": "b000.q0", "hypothesis": "Tea.", "open": True}
    with pytest.raises(UserError, match=r"31 of 64 answers missing \('b000.q1' open"):
        score(written(path, [*rows_of(source, right, 1), opened]), source)


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.jsonl").write_bytes(content)
    with pytest.raises(UserError, match="the file is empty"):
        read_predictions(tmp_path / "p.jsonl")


def test_files_that_are_not_there_and_lines_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            read_predictions(path)
    monkeypatch.setattr("personamem_pipeline.evaluation.predictions_file.LONGEST_LINE", 1000)
    with pytest.raises(UserError, match=r"p.jsonl:2: a line of more than"):
        read_predictions(written(tmp_path / "p.jsonl", [GOOD, GOOD | {"hypothesis": "x" * 2000}]))


def test_marks_windows_line_ends_and_other_keys_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD | {"model": "x"}).encode() + b"\r\n\r\n")
    (row,) = read_predictions(tmp_path / "p.jsonl")
    assert (row.question_id, row.order, row.hypothesis, row.line) == ("b000.q0", 0, "a", 1)


HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07", "[bold red]x[/]", "<script>alert(1)</script>", "\\boxed{" * 3000, "\\boxed{é}", "\u202egnp",
    "\x00", "{" * 500, "a" * 200_000, "\\boxed{a}\u2028\\boxed{b}", "$(rm -rf /)", "", "\\boxed{z}", "(" * 9999,
]  # fmt: skip


def test_hostile_answers_are_answers(tmp_path: Path, source: Source, capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of(source, lambda question, _: HOSTILE[int(question.question_id[3]) % len(HOSTILE)])
    for row, text in zip(rows, HOSTILE, strict=False):
        row["hypothesis"] = text
    path = written(tmp_path / "[bold]evil\x1b[31m.jsonl", rows)
    read = read_predictions(path)
    assert [row.hypothesis for row in read][: len(HOSTILE)] == HOSTILE
    found = score(path, source)
    json.dumps(found, allow_nan=False)
    print_score(found)
    assert "\x1b" not in capsys.readouterr().out


def test_a_hostile_id_does_not_reach_the_terminal(tmp_path: Path, source: Source) -> None:
    evil = "\x1b[2J" + "x" * 5000
    path = written(tmp_path / "p.jsonl", [{"question_id": evil, "hypothesis": "a"}])
    with pytest.raises(UserError) as caught:
        score(path, source)
    assert "\x1b" not in str(caught.value) and len(caught.value.problem) < 300


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300) | st.text(string.printable, max_size=300).map(str.encode))
def test_any_bytes_are_rows_or_one_clear_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(content)
    try:
        rows = read_predictions(path)
    except UserError as error:
        assert error.where.startswith(str(path))
    else:
        assert rows


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(min_size=1), st.none() | st.integers(0, 23), st.text()), min_size=1, unique_by=lambda r: r[:2]
    )
)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str, int | None, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.jsonl"
    write_predictions(path, [Reply(question_id=name, order=order, output=text) for name, order, text in said])
    assert [(row.question_id, row.order, row.hypothesis) for row in read_predictions(path)] == said


# A file beside other systems.


def test_a_report_takes_no_part_of_a_file(tmp_path: Path, source: Source) -> None:
    path = written(tmp_path / "p.jsonl", rows_of(source, right, 2)[:-1])
    named, batches = Named("other", "other", "external"), list(source.batches())
    system = Predictions(named, path)
    assert (system.name, system.label, system.role) == ("other", "other", "external")
    assert len(system.run(batches[0]).replies) == 24
    with pytest.raises(UserError, match=r"1 of 16 answers missing \('b007.q3' order 1\)"):
        system.run(batches[-1])
    with pytest.raises(UserError, match=r"1 of 64 answers missing"):
        Predictions(named, path, source).run(batches[0])


# Which benchmark.


@pytest.fixture
def stored(tmp_path: Path, put_dataset: Callable[..., str], make_people: Callable[..., list]) -> tuple[Store, str]:
    store = Store(tmp_path / "home/store")
    return store, put_dataset(store, "benchmark", make_people(3), tmp_path / "first")


def find(store: Store, benchmark: str | None) -> Source:
    return find_source(store, benchmark, orders=1, seed=0, people_per_batch=9)


def test_a_benchmark_is_found_by_version_directory_or_as_the_only_one(
    tmp_path: Path, stored: tuple[Store, str], put_dataset: Callable[..., str], make_people: Callable[..., list]
) -> None:
    store, version = stored
    places = (None, version, version[:8], f"benchmark/{version[:8]}", str(store.path("benchmark", version)))
    sources = [find(store, place) for place in places]
    assert all(source.questions == sources[0].questions and len(list(source.people())) == 3 for source in sources)
    assert all(Path(source.where).name == version for source in sources)
    other = put_dataset(store, "benchmark", make_people(2), tmp_path / "second")
    with pytest.raises(UserError, match="2 benchmarks, and none was named") as caught:
        find(store, None)
    assert version[:12] in str(caught.value) and other[:12] in str(caught.value)
    with pytest.raises(UserError, match="no benchmark is called 'latest'"):
        find(store, "latest")
    with pytest.raises(UserError, match="there is no benchmark"):
        find(Store(tmp_path / "empty"), None)
    (store.path("benchmark", version) / "questions.parquet").write_bytes(b"x")
    for place in (version, str(store.path("benchmark", version))):
        with pytest.raises(UserError, match="sha256 is"):
            find(store, place)


def test_the_released_row_is_asked_and_scored(tmp_path: Path) -> None:
    if not REAL_CSV.exists():
        pytest.skip(ABSENT)
    with pytest.raises(UserError, match=r"no row of the table can be asked: .*missing_history"):
        released_source(REAL_CSV, tmp_path, orders=2, seed=0, people_per_batch=9)
    link = tmp_path / "data/chat_history_32k/chat_history_250913_163134_persona521.json"
    link.parent.mkdir(parents=True)
    link.symlink_to(REAL_HISTORY)
    found = released_source(REAL_CSV, tmp_path, orders=2, seed=0, people_per_batch=9)
    assert found.rejected == () and list(found.source.by_person) == ["p0521"] and found.source.profiles["p0521"]
    hand_out(found.source, tmp_path / "out")
    (line,) = (tmp_path / "out/questions.jsonl").read_text().splitlines()
    assert len(read_history(tmp_path / "out" / json.loads(line)["history"]).messages) == 7
    path = written(tmp_path / "p.jsonl", rows_of(found.source, right, 2))
    own = score(path, found.source)["system"]
    assert (own["accuracy"], own["n"], own["persons"], own["low"], own["leak_rate"]) == (1.0, 2, 1, None, None)


def test_what_of_a_released_table_cannot_be_asked_is_told(tmp_path: Path) -> None:
    small(tmp_path)  # histories of 7, 8 and 9
    broken, stray = cells(9, correct_answer=""), cells(9, persona_id="nine")
    unreadable = cells(55, incorrect_answers="[")
    table = write_table(tmp_path / "text/some.csv", [cells(7), cells(9), broken, cells(44), unreadable, stray])
    found = released_source(table, tmp_path, orders=1, seed=0, people_per_batch=9)
    assert list(found.source.by_person) == ["p0007", "p0009"] and len(found.source.questions) == 2
    assert sorted((row.person_id, row.reason.partition(":")[0]) for row in found.rejected) == [
        ("", "bad_value"), ("p0009", "empty_text"), ("p0044", "missing_history"), ("p0055", "broken_json"),
    ]  # fmt: skip
    assert [history.person_id for history in found.source.histories()] == ["p0007", "p0009"]


# The command line.


def command(*words: str) -> None:
    parser = argparse.ArgumentParser()
    add_prediction_commands(parser.add_subparsers(required=True))
    arguments = parser.parse_args(["predictions", *words])
    arguments.run(arguments)


def test_questions_out_and_predictions_in(
    tmp_path: Path, stored: tuple[Store, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PERSONAMEM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PERSONAMEM_PRESET", "demo")
    assert load_settings().store == stored[0].url
    command("questions", "--out", str(tmp_path / "out"), "--orders", "3")
    assert "12 questions of 3 people in 3 option orders" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "out/questions.jsonl").read_text().splitlines()]
    said = [
        {"question_id": row["question_id"], "hypothesis": "\\boxed{b}", "order": order}
        for row in rows
        for order in range(3)
    ]
    path = written(tmp_path / "b.jsonl", said)
    command("score", str(path), "--benchmark", stored[1][:10], "--orders", "3", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["benchmark"] == stored[1] and found["system"]["letters_picked"]["b"] == 1.0
    command("score", str(path))
    assert "95 % interval, by person" in capsys.readouterr().out
    with pytest.raises(UserError, match="--released and --root belong together"):
        command("score", str(path), "--released", "x.csv")
    for orders in ("0", "25", "many", "-1"):
        with pytest.raises(SystemExit):
            command("score", str(path), "--orders", orders)


def test_check_tells_what_a_file_answers(tmp_path: Path, source: Source) -> None:
    path = written(tmp_path / "p.jsonl", rows_of(source, right)[:2])
    checked = check(read_predictions(path), source.questions, path, orders=None, partial=True)
    assert len(checked.choices) == 2 and not checked.opened and checked.orders == 1 and len(checked.missing) == 30
