"""Anchors there and back: hostile texts, spreadsheets that rewrite files, people who make mistakes, and the commands."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.arrow import write_parquet
from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation import results
from personamem_pipeline.evaluation.cli_anchors import add_anchor_commands
from personamem_pipeline.evaluation.judging import anchors, anchors_page, drawing
from personamem_pipeline.evaluation.judging.briefs import Brief, brief
from personamem_pipeline.evaluation.judging.panel import Panel
from personamem_pipeline.evaluation.judging.sheet import guard, unguard
from personamem_pipeline.evaluation.records import OpenAnswer
from personamem_pipeline.records import History, Question, Rejection
from personamem_pipeline.store import Store
from tests.evaluation.judging.cases import Scripted, answer, evidence, histories, message, question, questions

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
HOSTILE = (
    "=HYPERLINK(\"http://x\")", "+1", "-1+2", "@SUM(A1)", "'=1", "''+1", "a,b;c\td", 'say "hi"', "two\nlines\r\nthree\rfour",
    "</script><script>alert(1)</script>", "\ttab", "  padded  ", "\u2028 line \x85 break", "", "user: \"x\"",
)  # fmt: skip


def written(path: Path, briefs: dict[str, Brief], score: float | None = 1.0) -> Path:
    anchors.write_anchors(path, [anchors.row(own, item, "ann", score) for own, item in briefs.items()])
    return path


def plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def case(text: str, said: str = "I have a whisk.") -> Brief:
    return brief(question(0), [message("p0.q0", said), message("p0.q0", text)], text)


@given(TEXT)
def test_a_guard_is_taken_back_exactly(text: str) -> None:
    assert unguard(guard(text)) == text
    assert guard(text)[:1] not in tuple("=+-@\t\r\n")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_come_back_as_they_were(text: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", {"a1": case(text)})
    found = anchors.read_anchors(path).briefs["a1"]
    assert found["answer"] == plain(text) and found["evidence"][1]["content"] == plain(text)
    for cells in csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")):
        assert not any(cell[:1] in tuple("=+-@\t\r") for cell in cells if cell)


@given(TEXT, TEXT)
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, text: str, said: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    item = case(text, said)
    assert anchors.text_digest(anchors.read_anchors(written(path, {"a1": item})).briefs["a1"]) == anchors.text_digest(
        item
    )


def test_a_spreadsheet_may_write_it_in_its_own_way(tmp_path: Path) -> None:
    """Semicolons, other quotes, other line ends, a decimal comma."""
    briefs = {"a1": case("one, two; three\nfour"), "a2": case("=1")}
    path = written(tmp_path / "a.csv", briefs, None)
    rows = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))
    for cells in rows[1:]:
        cells[anchors.COLUMNS.index("score")], cells[anchors.COLUMNS.index("annotator")] = "0,5", " Ann  B. "
    text = io.StringIO()
    csv.writer(text, delimiter=";", lineterminator="\n").writerows(rows)
    path.write_text(text.getvalue().replace("three\nfour", "three\r\nfour"), newline="")
    assert anchors.read_anchors(path).scores == {("a1", "Ann B."): 0.5, ("a2", "Ann B."): 0.5}


def edited(path: Path, column: str, value: str, row: int = 1) -> Path:
    rows = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))
    rows[row][anchors.COLUMNS.index(column)] = value
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    path.write_text(text.getvalue(), newline="", encoding="utf-8-sig")
    return path


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("score", "1.5", "the score '1.5'"),
        ("score", "-1", "the score '-1'"),
        ("score", "nan", "the score 'nan'"),
        ("score", "good", "the score 'good'"),
        ("annotator", " ", "a score without an annotator"),
        ("answer", "You could try red wine.", "the text of a1 was changed"),
        ("query", "", "the text of a1 was changed"),
        ("digest", "d0", "the text of a1 was changed"),
        ("evidence", "user: nothing", "its evidence has the line"),
        ("evidence", "", "the text of a1 was changed"),
        ("answer_id", "a9", "the report has no answer a9"),
        ("answer_id", "a2", "a2 is another answer in this report"),
    ],
)
def test_mistakes_are_told_with_their_row(tmp_path: Path, column: str, value: str, problem: str) -> None:
    briefs = {"a1": case("Try green tea."), "a2": case("Try water.")}
    path = edited(written(tmp_path / "a.csv", briefs), column, value)
    with pytest.raises(UserError, match=f"a.csv, row 2: {problem}"):
        anchors.read_anchors(path, known=briefs)


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with pytest.raises(UserError, match="cannot be read"):
        anchors.read_anchors(path)
    for content, problem in (
        (b"", "no column"),
        (b"a,b\n1,2\n", "no column answer_id"),
        (b"\xff\xfe", "cannot be read"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=problem):
            anchors.read_anchors(path)
    written(path, {"a1": case("x")}, None)
    with pytest.raises(UserError, match="nobody has scored"):
        anchors.read_anchors(path)
    path.write_bytes(path.read_bytes() + b'"a1","ann"\r\n')
    with pytest.raises(UserError, match="row 3: it has 2 cells of 12"):
        anchors.read_anchors(path)


def test_several_people_in_one_file_or_in_several(tmp_path: Path) -> None:
    item = case("Try green tea.")
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    anchors.write_anchors(one, [anchors.row("a1", item, "ann", 1.0)])
    anchors.write_anchors(two, [anchors.row("a1", item, "bob", 0.5), anchors.row("a2", item)])
    found = anchors.read_anchors(one, two)
    assert found.annotators == ["ann", "bob"] and found.labelled == ["a1"] and set(found.briefs) == {"a1", "a2"}
    assert found.columns(["a1"]) == {"ann": [1.0], "bob": [0.5]}
    with pytest.raises(UserError, match="ann scored a1 twice"):
        anchors.read_anchors(one, one)
    anchors.write_anchors(two, [anchors.row("a1", case("Other."), "bob", 0.5)])
    with pytest.raises(UserError, match="another text here"):
        anchors.read_anchors(one, two)


def make_report(tmp_path: Path, asked: list[Question], rows: list[OpenAnswer]) -> Path:
    store = Store(tmp_path / "store")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    write_parquet(scratch / "histories.parquet", History, histories(asked))
    write_parquet(scratch / "questions.parquet", Question, asked)
    write_parquet(scratch / "rejected.parquet", Rejection, [])
    version = store.put_directory("benchmark", scratch, parents={}, producer={"stage": "test"}).version
    report = tmp_path / "store" / "reports" / "r"
    report.mkdir(parents=True)
    found = {"format": results.FORMAT, "persons": {}, "open": [{"threshold": 0.5}]}
    found["provenance"] = {"versions": {"benchmark": version}}
    (report / "results.json").write_text(json.dumps(found))
    write_parquet(report / "open_answers.parquet", OpenAnswer, rows)
    return report


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Forty questions, two systems; `grpo` names the preference three times in four and `base` always says the same."""
    asked = questions(40)
    judge = Scripted("judge", lambda item: float(item["preference"] in item["answer"]))
    lenient = Scripted("lenient", lambda item: 1.0)
    rows = [answer(row, f"Try {row.preference}." if index % 4 else "Try water.") for index, row in enumerate(asked)]
    rows += [answer(row, "Try water.", "base") for row in asked]
    rows.append(answer(asked[0], "", "silent", problem="refused"))
    return make_report(tmp_path, asked, Panel((judge, lenient), 0).judge(rows, asked, evidence(asked)))


def run(*arguments: object) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    add_anchor_commands(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["anchors", *map(str, arguments)])
    parsed.run(parsed)


def test_the_commands_there_and_back(report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, page = tmp_path / "out" / "anchors.csv", tmp_path / "out" / "anchors.html"
    run("make", "--report", report, "--out", out, "--page", page, "--count", 24)
    first = out.read_bytes(), page.read_bytes()
    run("make", "--report", report, "--out", out, "--page", page, "--count", 24)
    assert (out.read_bytes(), page.read_bytes()) == first, "the same bytes again"
    rows = list(csv.DictReader(io.StringIO(out.read_bytes().decode("utf-8-sig"), newline="")))
    assert len(rows) == 24 and not any(row["score"] or row["annotator"] for row in rows)
    assert not any(name in str(rows) for name in ("grpo", "base", "judge", "lenient")), "blind"
    assert "what I have." in rows[0]["evidence"]
    for who in ("ann", "bob"):
        scored = [
            anchors.row(row["answer_id"], own, who, float(own["preference"] in own["answer"]))
            for row in rows
            for own in [anchors._brief({name: unguard(cell) for name, cell in row.items()}, "")]
        ]
        anchors.write_anchors(tmp_path / f"{who}.csv", scored)
    capsys.readouterr()
    run("check", tmp_path / "ann.csv", tmp_path / "bob.csv", "--report", report, "--merge", tmp_path / "all.csv")
    told = capsys.readouterr().out
    line = {name: next(row for row in told.splitlines() if f" {name} " in row) for name in ("lenient", "people")}
    assert "24 answers scored by ann, bob" in told and "1.00" in line["people"] and "0.00" in line["lenient"]
    assert len(anchors.read_anchors(tmp_path / "all.csv").scores) == 48


def test_the_sample_has_every_type_with_right_and_wrong(report: Path) -> None:
    judged = drawing.read_judged(report)
    ids = drawing.draw(judged, 12, 0)
    strata = {(row.pref_type, (row.score or 0) >= 0.5) for row in judged.answers.values()}
    drawn = [(judged.answers[own].pref_type, (judged.answers[own].score or 0) >= 0.5) for own in ids]
    assert set(drawn) == strata and max(map(drawn.count, strata)) - min(map(drawn.count, strata)) <= 1
    assert drawing.draw(judged, 12, 0) == ids != drawing.draw(judged, 12, 1)
    everything = drawing.draw(judged, 1000, 0)
    assert len(everything) == len(set(everything)) == len(judged.answers)
    texts = [(row.question_id, row.answer) for row in judged.answers.values()]
    assert len(texts) == len(set(texts)) and not any(row.problem for row in judged.answers.values())


def test_a_report_without_its_benchmark_or_without_open_answers(report: Path, tmp_path: Path) -> None:
    judged = drawing.read_judged(report)
    with pytest.raises(UserError, match="--benchmark"):
        drawing.find_benchmark(tmp_path / "elsewhere" / "r", judged.benchmark, Store(tmp_path / "empty"))
    benchmark = drawing.find_benchmark(tmp_path / "elsewhere" / "r", judged.benchmark, Store(tmp_path / "store"))
    assert set(drawing.briefs(judged, benchmark)) == set(judged.answers)
    write_parquet(report / "open_answers.parquet", OpenAnswer, [])
    with pytest.raises(UserError, match="no open answers"):
        drawing.read_judged(report)
    with pytest.raises(UserError, match=r"results\.json"):
        drawing.read_judged(tmp_path)


def test_the_page_holds_the_file_and_nothing_runs_but_its_own(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    briefs = {"a1": case("</script><script>alert(1)</script>"), "a2": case("=1+1")}
    anchors_page.write_page(page, briefs, ["a2", "a1"])
    text = page.read_text()
    assert text.count("<script") == 2 and "alert(1)</script>" not in text
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert [row["cells"] for row in data["rows"]] == [anchors.row(own, briefs[own]) for own in ("a2", "a1")]
    assert "http" not in text.replace("http-equiv", ""), "it needs no network"
