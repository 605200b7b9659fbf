"""Walking through released files, one person at a time, and counting what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from personamem_pipeline.presets import ReleasedConfig
from personamem_pipeline.questions.released_checks import KINDS, question_type, row_flaws
from personamem_pipeline.questions.released_csv import Persons, label
from personamem_pipeline.questions.released_evidence import HOWS
from personamem_pipeline.questions.released_people import Files, Person, open_files, person_id
from personamem_pipeline.questions.released_report import (
    FIRST,
    FlawCount,
    LengthFigures,
    ReleasedReport,
    TableFigures,
)
from personamem_pipeline.questions.released_rows import ReleasedRow
from personamem_pipeline.records import Rejection

GIVEAWAY, GIVEAWAY_ROWS = 0.3, 20
"""A type gives its right option away by length when that is uniquely longest (or shortest) in a larger share of its rows;
types with fewer rows are not judged."""
_WEIGHTS = ("lost", "fault", "note")


def inspect_released(config: ReleasedConfig) -> ReleasedReport:
    """Inspect the files of a preset. `UserError` only where a table cannot be read at all (missing file, wrong header)."""
    return inspect_files(open_files(config))


def inspect_files(files: Files) -> ReleasedReport:
    """Inspect opened tables and the histories of one size that they link to."""
    found = _Findings()
    for _, table in files.tables:
        if table.layout.shuffled:
            found.flaw("shuffled_columns", table.label, f"begins with {', '.join(table.layout.columns[:3])}")
        if not table.persons().rows:
            found.flaw("no_rows", table.label, "only a header")
    found.lost(files.strays())
    sentences: dict[str, str] = {}
    for number in files.numbers():
        person = files.person(person_id(number))
        _inspect_person(person, found)
        for sentence in {row.sentence for _, row in person.rows if row.sentence.strip()}:
            first = sentences.setdefault(sentence, person.person_id)
            if first != person.person_id:
                found.flaw("duplicate_persona", person.person_id, f"the seed sentence of {first}")
    return found.report(files)


def _inspect_person(person: Person, found: _Findings) -> None:
    found.lost(person.rejected)
    if not person.rows:
        return
    _inspect_agreement(person, found)
    if not person.problem:
        _inspect_history(person, found)
    queries: dict[str, set[tuple[str, ...]]] = {}
    for question_id, row in person.rows:
        row_id = person.row_ids[question_id]
        flaws = row_flaws(row)
        for flaw in flaws:
            if not flaw.loses:
                found.flaw(flaw.kind, row_id, flaw.detail)
        reason = person.problem or next((f"{flaw.kind}: {flaw.detail}" for flaw in flaws if flaw.loses), "")
        if reason:
            found.lost([Rejection(row_id=row_id, person_id=person.person_id, reason=reason)])
            continue
        options = (row.correct_answer, *row.incorrect_answers)
        known = queries.setdefault(str(row.query), set())
        if known:
            found.flaw("duplicate_row" if options in known else "duplicate_query", row_id, str(row.query)[:60])
        known.add(options)
        found.usable(row, row_id, person.located[question_id].how)


def _inspect_agreement(person: Person, found: _Findings) -> None:
    tables = dict.fromkeys(label(read.path) for read in person.read)
    if len(tables) > 1:
        found.flaw("shared_person", person.person_id, " and ".join(tables))
    rows = [row for _, row in person.rows]
    columns = ("short_persona", "expanded_persona", "chat_history_32k_link", "chat_history_128k_link")
    differing = [column for column in columns if any(getattr(row, column) != getattr(rows[0], column) for row in rows)]
    if differing:
        found.flaw("conflicting_person", person.person_id, ", ".join(differing))


def _inspect_history(person: Person, found: _Findings) -> None:
    metadata = person.history.metadata
    messages = len(person.history.messages) + bool(person.history.profile)
    told, whose = metadata.get("total_messages"), metadata.get("persona_id")
    if told is not None and told != messages:
        found.flaw("cut_history", person.link, f"{messages} messages, its metadata say {told}")
    if whose is not None and _named(whose) != person.person_id:
        found.flaw("foreign_history", person.link, f"its metadata say persona {whose}, the table {person.person_id}")


def _named(value: Any) -> str:
    text = str(value)
    return person_id(int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else text


class _Findings:
    """The running counts."""

    def __init__(self) -> None:
        self._flaws: Counter[str] = Counter()
        self._first: dict[str, list[str]] = {}
        self._rejections: list[Rejection] = []
        self._usable: Counter[str] = Counter()
        self._evidence: Counter[str] = Counter()
        self._lengths: dict[str, list[tuple[bool, bool]]] = {}

    def flaw(self, kind: str, where: str, detail: str) -> None:
        self._flaws[kind] += 1
        if len(first := self._first.setdefault(kind, [])) < FIRST:
            first.append(f"{where}: {detail}")

    def lost(self, rejections: Iterable[Rejection]) -> None:
        for rejection in rejections:
            kind, _, detail = rejection.reason.partition(": ")
            self.flaw(kind, rejection.row_id, detail)
            self._rejections.append(rejection)

    def usable(self, row: ReleasedRow, row_id: str, how: str) -> None:
        self._usable[row_id.rpartition(":")[0]] += 1
        self._evidence[how] += 1
        if how == "none":
            self.flaw("no_evidence", row_id, f"{row.pref_type}, {len(row.turns)} turns in the snippet")
        elif how == "partial":
            self.flaw("partial_evidence", row_id, row.pref_type)
        right, *wrong = len(row.correct_answer), *map(len, row.incorrect_answers)
        guesses = self._lengths.setdefault(str(question_type(row)), [])
        guesses.append((right > max(wrong), right < min(wrong)))

    def report(self, files: Files) -> ReleasedReport:
        lengths = []
        for kind, guesses in sorted(self._lengths.items()):
            longest, shortest = (sum(column) / len(guesses) for column in zip(*guesses, strict=True))
            lengths.append(LengthFigures(pref_type=kind, rows=len(guesses), longest=longest, shortest=shortest))
            if len(guesses) >= GIVEAWAY_ROWS and max(longest, shortest) > GIVEAWAY:
                self.flaw("length_giveaway", kind, f"longest {longest:.0%}, shortest {shortest:.0%} of {len(guesses)}")
        order = sorted(self._flaws, key=lambda kind: (_WEIGHTS.index(KINDS[kind][0]), -self._flaws[kind], kind))
        return ReleasedReport(
            root=str(files.root),
            size=files.size,
            tables=tuple(self._table(split, table.label, table.persons()) for split, table in files.tables),
            flaws=tuple(
                FlawCount(
                    kind=kind, weight=KINDS[kind][0], meaning=KINDS[kind][1], count=self._flaws[kind],
                    first=tuple(self._first[kind]),
                )
                for kind in order
            ),
            evidence={how: self._evidence[how] for how in HOWS},
            lengths=tuple(lengths),
            rejections=tuple(self._rejections),
        )  # fmt: skip

    def _table(self, split: str, name: str, persons: Persons) -> TableFigures:
        usable = self._usable[name]
        return TableFigures(
            path=name,
            split=split,
            rows=persons.rows,
            usable=usable,
            lost=persons.rows - usable,
            persons=len(persons.places),
        )
