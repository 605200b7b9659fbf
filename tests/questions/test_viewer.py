"""The viewer's page as a file: whole, self-contained, the same every time, and closed to hostile texts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tracemalloc
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.errors import UserError
from personamem_pipeline.questions.viewer import embedded, write_viewer
from personamem_pipeline.questions.viewer_data import overview, person_summary, reasons
from personamem_pipeline.records import History
from tests.browser import people


def written(target: Path, **changes: Any) -> str:
    values: dict[str, Any] = {
        "title": "Benchmark", "histories": people.histories(), "questions": people.questions(),
        "personas": people.personas(), "rejected": people.REJECTED, "facts": {"written": "6"},
    }  # fmt: skip
    write_viewer(target, **{**values, **changes})
    return target.read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Start tags with their attributes, and the text inside scripts and styles, as a browser tells them apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[str] | None = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = []
        self.found.append((tag, dict(attrs), self._open))

    def handle_endtag(self, tag: str) -> None:
        self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self._open.append(data)


def blocks(page: str) -> list[dict[str, Any]]:
    return [
        json.loads("".join(text))
        for tag, attributes, text in Elements(page).found
        if tag == "script" and attributes.get("class") == "person"
    ]


def test_every_row_is_on_the_page(tmp_path: Path) -> None:
    first, second = blocks(written(tmp_path / "viewer.html"))
    history = people.histories()[0]
    assert [turn[2] for session in first["sessions"] for turn in session["turns"]] == [
        m.content for m in history.messages
    ]
    assert [session["evidence"] for session in first["sessions"]] == [list(s.evidence) for s in history.sessions]
    assert len(first["questions"]) == 3 and first["questions"][0]["certificate"]["blind_by_reader"] == [0.75, 0.5]
    assert [row["row_id"] for row in first["rejected"]] == ["p1.x.q0"]
    assert second["preferences"][0]["text"] == people.HOSTILE and second["name"].endswith(people.HOSTILE)


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    assert written(tmp_path / "a.html") == written(tmp_path / "b.html", histories=iter(people.histories()))


def test_nothing_is_loaded_from_anywhere(tmp_path: Path) -> None:
    found = Elements(written(tmp_path / "viewer.html")).found
    assert not [tag for tag, _, _ in found if tag in ("img", "link", "iframe", "object", "base", "form", "svg")]
    for _, attributes, _ in found:
        assert not {"src", "srcset", "onerror", "onclick", "style"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")
    code = "".join("".join(text) for tag, a, text in found if tag == "style" or (tag == "script" and "type" not in a))
    assert "innerHTML" not in code and not re.search(r"https?:|url\(|@import|fetch\(|import\(", code)


def test_the_policy_names_the_script_and_style_that_are_there(tmp_path: Path) -> None:
    found = Elements(written(tmp_path / "viewer.html")).found
    policy = next(a["content"] for tag, a, _ in found if tag == "meta" and "http-equiv" in a)
    for tag, attributes, text in found:
        if tag == "style" or (tag == "script" and "type" not in attributes):
            digest = base64.b64encode(hashlib.sha256("".join(text).encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in str(policy)


@given(st.text() | st.sampled_from([people.HOSTILE, "<!--", "</SCRIPT >", "<script", "\r\n\x00\x7f\ufeff", "]]>"]))
def test_any_text_survives_its_script_element(text: str) -> None:
    page = f'<script type="application/json">{embedded([text])}</script><p>'
    found = Elements(page).found
    assert [tag for tag, _, _ in found] == ["script", "p"]
    assert json.loads("".join(found[0][2])) == [text]


def test_without_personas_preferences_come_from_sessions_and_questions(tmp_path: Path) -> None:
    histories = people.histories()
    bare = histories[1].model_copy(
        update={"sessions": tuple(s.model_copy(update={"preference": None}) for s in histories[1].sessions)}
    )
    first, second = blocks(written(tmp_path / "viewer.html", personas=None, histories=[histories[0], bare]))
    assert [p["id"] for p in first["preferences"]] == ["p1.a", "p1.c", "p1.b", "p1.d"]
    assert first["preferences"][2]["replaces"] == "p1.a" and first["preferences"][1]["forgotten"]
    assert [p["text"] for p in second["preferences"]] == [people.HOSTILE] and first["profile"] is None


def test_the_overview_counts_all_questions_and_each_refusal_once(tmp_path: Path) -> None:
    rows = people.questions()
    again = people.REJECTED[0].model_copy(update={"row_id": rows[0].question_id, "reason": "blind: said again"})
    assert reasons(rows[:3], [*people.REJECTED, again]) == {"blind": 1, "leak": 1, "length": 1, "schema": 2}
    page = written(tmp_path / "viewer.html", histories=people.histories()[:1])
    figures = overview(rows, (), [person_summary(h, [], blocks(page)[0]) for h in people.histories()])
    assert figures["admitted"] == 2 and figures["all_persons"] == 2
    everything = figures["slices"][-1]
    assert everything["name"] == "all" and everything["questions"] == 4 and everything["blind"] == 0.25
    refused = next(row for row in figures["slices"] if row["name"] == "anti_stereotypical_pref")
    assert refused["admitted"] == 0 and refused["blind"] is None, "no figure where nothing was admitted"
    assert "1 of 2 persons are on this page" in page and "<dt>written</dt><dd>6</dd>" in page


def test_a_page_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "out" / "viewer.html"
    with pytest.raises(UserError, match="twice"):
        written(target, histories=[*people.histories(), people.histories()[0]])
    with pytest.raises(UserError, match="no histories to show"):
        written(target, histories=[])
    with pytest.raises(UserError, match="directory"):
        written(tmp_path)
    assert not target.exists()


def test_persons_are_written_one_at_a_time(tmp_path: Path) -> None:
    """Memory is that of one person, however many there are: 40 histories of 250 kB stay far under their 10 MB."""
    first = people.histories()[0]

    def many() -> Iterator[History]:
        for number in range(40):
            long = first.sessions[0].messages[0].model_copy(update={"content": f"{number} " + "word " * 50_000})
            session = first.sessions[0].model_copy(update={"messages": (long,)})
            yield first.model_copy(update={"person_id": f"p{number:03d}", "sessions": (session,)})

    tracemalloc.start()
    try:
        page_size = len(written(tmp_path / "viewer.html", histories=many(), questions=[], personas=None, rejected=()))
        tracemalloc.reset_peak()
        write_viewer(tmp_path / "again.html", title="t", histories=many(), questions=[], facts={})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert page_size > 9_000_000 and peak < 5_000_000
