"""Anchors: open answers that people scored, against which the judges are held.

A sample goes out as a CSV file (and a page to fill it in, `anchors_page`), blind: neither the system nor any judge's
score is in it. It comes back with scores and the annotators' names. The file holds the whole brief of every answer, so
that a panel can judge the same texts later, when the report that they came from is long replaced; a digest per row tells
a text that was changed on the way, be it by a hand or by a spreadsheet. Rows of several annotators may stand in one file
or in several.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.judging.briefs import Brief
from personamem_pipeline.evaluation.judging.sheet import guard, read_sheet, write_sheet
from personamem_pipeline.evaluation.records import OpenAnswer
from personamem_pipeline.seeds import digest

COLUMNS = (
    "answer_id", "annotator", "score", "query", "answer", "preference", "pref_type", "who", "updated", "previous",
    "evidence", "digest",
)  # fmt: skip
_CHANGED = "texts exactly as they were written"
MAKE = "make the file anew with `personamem anchors make`, and keep it as it is but for `score` and `annotator`"
_TEXTS = ("query", "answer", "preference", "pref_type", "who", "previous")
_TURN = re.compile(r"(user|assistant|system): (\".*\")")
Scores = dict[tuple[str, str], float]
"""(answer id, annotator) -> 0..1."""


@dataclass(frozen=True)
class Anchors:
    """What was labelled, by whom, and how."""

    briefs: Mapping[str, Brief]
    """Answer id -> what judges are told of it; also of answers that nobody scored yet."""
    scores: Mapping[tuple[str, str], float]

    @property
    def labelled(self) -> list[str]:
        """The ids of the answers that somebody scored, in order."""
        return sorted({answer_id for answer_id, _ in self.scores})

    @property
    def annotators(self) -> list[str]:
        return sorted({annotator for _, annotator in self.scores})

    def columns(self, ids: Sequence[str]) -> dict[str, list[float | None]]:
        """Annotator -> their scores of these answers; None where they gave none."""
        return {who: [self.scores.get((answer_id, who)) for answer_id in ids] for who in self.annotators}


def answer_id(answer: OpenAnswer) -> str:
    """A name that says neither question nor system. It begins with a letter, or spreadsheets would read some as numbers."""
    return f"a{digest([answer.question_id, answer.system])[:12]}"


def text_digest(brief: Brief) -> str:
    """By which a changed text is told; line ends are left out of it, spreadsheets rewrite them."""
    return f"d{digest(_with_plain_lines(brief))[:16]}"


def row(answer_id: str, brief: Brief, annotator: str = "", score: float | None = None) -> list[str]:
    """One line of the file, its cells safe for spreadsheets."""
    plain = _with_plain_lines(brief)
    cells = {
        **{name: str(plain[name]) for name in _TEXTS},
        "answer_id": answer_id,
        "annotator": annotator,
        "score": "" if score is None else f"{score:g}",
        "updated": "yes" if plain["updated"] else "no",
        "evidence": "\n".join(
            f"{t['role']}: {json.dumps(t['content'], ensure_ascii=False)}" for t in plain["evidence"]
        ),
        "digest": text_digest(brief),
    }
    return [guard(cells[name]) for name in COLUMNS]


def write_anchors(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """The file of these rows."""
    write_sheet(path, COLUMNS, rows)


def read_anchors(*paths: Path, known: Mapping[str, Brief] | None = None) -> Anchors:
    """The labels in one or more files; rows without a score are answers that wait for one.

    `known` (answer id -> brief): what the report has; then every answer must be in it, with the same text.

    Raises `UserError`, with file and row, for a file that is no such table, an unknown id, a text that was changed, a
    score that is no number from 0 to 1, a score without an annotator, the same answer twice by one annotator, and where
    nobody scored anything.
    """
    briefs: dict[str, Brief] = {}
    scores: Scores = {}
    for path in paths:
        for place, cells in read_sheet(path, COLUMNS, MAKE):
            found = _brief(cells, place)
            own = cells["answer_id"]
            _check_text(found, own, cells["digest"], briefs.get(own), known, place)
            briefs[own] = found
            score = _score(cells["score"], place)
            if score is None:
                continue
            who = " ".join(cells["annotator"].split())
            if not who:
                raise UserError("a score without an annotator", where=place, remedy="fill in who gave it")
            if (own, who) in scores:
                raise UserError(
                    f"{who} scored {own} twice",
                    where=place,
                    expected="each answer once",
                    remedy="remove one of the rows",
                )
            scores[own, who] = score
    if not scores:
        where = ", ".join(map(str, paths))
        raise UserError("nobody has scored anything yet", where=where, remedy="fill in `score` and `annotator`")
    return Anchors(briefs, scores)


def _brief(cells: Mapping[str, str], place: str) -> Brief:
    turns = []
    for line in filter(None, _with_plain_lines(cells["evidence"]).split("\n")):  # line ends of a turn are escaped
        match = _TURN.fullmatch(line)
        try:
            content = json.loads(match[2]) if match else None
        except ValueError:
            content = None
        if match is None or content is None:
            raise UserError(f"its evidence has the line {line[:80]!r}", where=place, expected=_CHANGED, remedy=MAKE)
        turns.append({"role": match[1], "content": content})
    texts: Brief = {name: cells[name] for name in _TEXTS}
    brief: Brief = _with_plain_lines({**texts, "updated": cells["updated"] == "yes", "evidence": turns})
    return brief


def _check_text(
    found: Brief, own: str, written: str, earlier: Brief | None, known: Mapping[str, Brief] | None, place: str
) -> None:
    digest_here = text_digest(found)
    if digest_here != written:
        problem = f"the text of {own} was changed: its digest is {digest_here} and not {written}"
        raise UserError(problem, where=place, expected=_CHANGED, remedy=MAKE)
    if earlier is not None and text_digest(earlier) != digest_here:
        problem = f"{own} has another text here than in an earlier row"
        raise UserError(problem, where=place, expected="files from one report", remedy=MAKE)
    if known is None:
        return
    if own not in known:
        raise UserError(f"the report has no answer {own}", where=place, expected="the report that it was made from")
    if text_digest(known[own]) != digest_here:
        problem = f"{own} is another answer in this report"
        raise UserError(problem, where=place, expected="the report that it was made from")


def _score(cell: str, place: str) -> float | None:
    text = cell.strip().replace(",", ".")
    if not text:
        return None
    try:
        score = float(text)
    except ValueError:
        score = float("nan")
    if not 0 <= score <= 1:
        raise UserError(f"the score {cell.strip()!r}", where=place, expected="a number from 0 to 1, or nothing")
    return score


def _with_plain_lines(value: Any) -> Any:
    """The same with one kind of line end."""
    if isinstance(value, str):
        return value.replace("\r\n", "\n").replace("\r", "\n")
    if isinstance(value, Mapping):
        return {name: _with_plain_lines(item) for name, item in value.items()}
    return [_with_plain_lines(item) for item in value] if isinstance(value, list) else value
