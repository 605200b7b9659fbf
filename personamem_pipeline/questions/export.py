"""Writing our datasets in the layout in which PersonaMem-v2 was released.

    benchmark/text/benchmark.csv, train.csv         the questions, 27 columns
    data/chat_history_{32k,128k}/chat_history_pipeline_persona{N}.json
    data/raw_data/raw_data_pipeline_persona{N}.json the whole person: profile, preferences by type, elements
    persons.json                                    N -> our person id and question ids, in the order of the rows

So code that was written for the released files runs on ours. The count columns are in gpt-4o's tokens, as theirs: a distance
counts from the first message of the snippet to the end of the history. Columns of the other size are empty. Two things are
said in the released way that our records say in theirs: a forget row's preference is `Do not remember ...`, and it counts
as updated, with what is to be forgotten in `prev_pref`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from personamem_pipeline.conversations.counting import count_gpt4o
from personamem_pipeline.errors import UserError
from personamem_pipeline.questions.export_raw import raw_persona
from personamem_pipeline.questions.released import history_json
from personamem_pipeline.questions.released_checks import FORGET
from personamem_pipeline.questions.released_csv import write_rows
from personamem_pipeline.questions.released_rows import ReleasedRow
from personamem_pipeline.records import History, Message, Persona, Question, Record, Rejection, Split
from personamem_pipeline.store import scratch_directory

Size = Literal["32k", "128k"]
SIZES: tuple[Size, ...] = ("32k", "128k")
TABLES: dict[Split, str] = {"benchmark": "benchmark/text/benchmark.csv", "training": "benchmark/text/train.csv"}
PERSONS = "persons.json"
LABEL = "pipeline"
"""Stands where the released names have the date and time of their making: the same rows give the same names."""
_NUMBERED = re.compile(r"p(\d{4,9})")


class ExportReport(Record):
    """What was written. questions given = rows + rejections."""

    target: str
    persons: int
    rows: dict[str, int]
    """Table -> its rows."""
    tokens: int
    """Of all histories, counted with gpt-4o's tokenizer."""
    rejections: tuple[Rejection, ...]


def export_released(
    histories: Sequence[History],
    questions: Sequence[Question],
    personas: Sequence[Persona],
    target: Path,
    *,
    size: Size,
) -> ExportReport:
    """Write a dataset to `target`, which must not exist or be empty; it appears when everything is written.

    `personas` may be more than have a history. A question without a history, or whose evidence is not in it, is rejected.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError("there is something already", where=target, expected="a directory that is new or empty",
                        remedy="give another --to, or remove it")  # fmt: skip
    people = {persona.person_id: persona for persona in personas}
    if unknown := sorted({history.person_id for history in histories} - set(people)):
        raise UserError(f"no person for the history of {', '.join(unknown[:5])}", where=target,
                        expected="the persona of every history", remedy="give the personas of the same dataset")  # fmt: skip
    asked: dict[str, list[Question]] = {}
    for question in sorted(questions, key=lambda question: question.question_id):
        asked.setdefault(question.person_id, []).append(question)
    numbers = _numbers([history.person_id for history in histories])
    rows: dict[Split, list[ReleasedRow]] = {}
    rejections = [
        _rejected(question, "missing_history: the person has no history")
        for person, own in asked.items()
        if person not in numbers
        for question in own
    ]
    written: dict[str, Any] = {}
    tokens = 0
    with scratch_directory(target) as scratch:
        for history in sorted(histories, key=lambda history: numbers[history.person_id]):
            number, persona = numbers[history.person_id], people[history.person_id]
            export = _Person(number, persona, history, size)
            made, lacking = export.rows(asked.get(history.person_id, []))
            rows.setdefault(history.split, []).extend(row for _, row in made)
            rejections += lacking
            tokens += export.total
            kept = [question for question, _ in made]
            _write(scratch / export.link, history_json(history.messages, export.metadata()))
            _write(scratch / export.raw, json.dumps(raw_persona(persona, history, kept), ensure_ascii=False, indent=2))
            written[str(number)] = {
                "person_id": history.person_id,
                "split": history.split,
                "questions": [question.question_id for question in kept],
            }
        for split, own in sorted(rows.items()):
            path = scratch / TABLES[split]
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="") as file:
                write_rows(file, own)
        _write(scratch / PERSONS, json.dumps(written, indent=1))
        scratch.chmod(0o755)  # made for others to read
        if target.exists():
            target.rmdir()  # empty: a directory is renamed onto nothing
    return ExportReport(
        target=str(target),
        persons=len(written),
        rows={TABLES[split]: len(own) for split, own in sorted(rows.items())},
        tokens=tokens,
        rejections=tuple(rejections),
    )


class _Person:
    """One person's history with its token counts."""

    def __init__(self, number: int, persona: Persona, history: History, size: Size) -> None:
        self._number, self._persona, self._size = number, persona, size
        self._messages: tuple[Message, ...] = history.messages
        self._places = {message.turn_id: place for place, message in enumerate(self._messages)}
        lengths = count_gpt4o([message.content for message in self._messages])
        padding = {m.turn_id for session in history.sessions if session.event == "padding" for m in session.messages}
        self.total = sum(lengths)
        self._padding = sum(lengths[place] for turn_id, place in self._places.items() if turn_id in padding)
        self._before = [0, *accumulate(lengths)]
        self.link = f"data/chat_history_{size}/chat_history_{LABEL}_persona{number}.json"
        self.raw = f"data/raw_data/raw_data_{LABEL}_persona{number}.json"

    def metadata(self) -> dict[str, Any]:
        """As the released histories have it."""
        own = {
            "total_messages": len(self._messages),
            "final_token_count": self.total,
            "persona_id": self._number,
            "input_filename": self.raw,
        }
        parts = {"num_relevant_tokens": self.total - self._padding, "num_irrelevant_tokens": self._padding}
        return own | (parts if self._size == "128k" else {})

    def rows(self, questions: Sequence[Question]) -> tuple[list[tuple[Question, ReleasedRow]], list[Rejection]]:
        """The rows of the questions whose evidence is in the history, and the others."""
        rows: list[tuple[Question, ReleasedRow]] = []
        rejected: list[Rejection] = []
        for question in questions:
            lacking = [turn_id for turn_id in question.evidence if turn_id not in self._places]
            if lacking:
                rejected.append(_rejected(question, f"no_evidence: the history has no turn {', '.join(lacking)}"))
            else:
                rows.append((question, self._row(question)))
        return rows, rejected

    def _row(self, question: Question) -> ReleasedRow:
        places = sorted(self._places[turn_id] for turn_id in question.evidence)
        distance = self.total - self._before[places[0]] if places else 0
        forget = question.pref_type == "ask_to_forget"
        return ReleasedRow(
            persona_id=self._number,
            raw_persona_file=self.raw,
            short_persona={"persona": self._persona.seed_persona},
            expanded_persona=_expanded(self._persona),
            user_query={"role": "user", "content": question.user_query},
            correct_answer=question.correct_answer,
            incorrect_answers=question.incorrect_answers,
            topic_query=question.topic,
            preference=FORGET + question.preference if forget else question.preference,
            topic_preference=question.topic,
            conversation_scenario=question.conversation_scenario,
            pref_type=question.pref_type,
            related_conversation_snippet=[
                {"role": self._messages[place].role, "content": self._messages[place].content} for place in places
            ],
            who=question.who,
            updated=question.updated or forget,
            prev_pref=question.preference if forget else question.prev_pref,
            sensitive_info=question.pref_type == "sensitive_info",
            **self._sized(distance),
        )

    def _sized(self, distance: int) -> dict[str, Any]:
        """The columns that there are for both sizes; None and empty for the size that was not written."""
        columns: dict[str, Any] = {}
        for size in SIZES:
            own = size == self._size
            columns |= {
                f"chat_history_{size}_link": self.link if own else "",
                f"total_tokens_in_chat_history_{size}": self.total if own else None,
                f"distance_from_related_snippet_to_query_{size}": distance if own else None,
                f"num_persona_relevant_tokens_{size}": self.total - self._padding if own else None,
                f"num_persona_irrelevant_tokens_{size}": self._padding if own else None,
            }
        return columns


def _expanded(persona: Persona) -> dict[str, Any]:
    return {"short_persona": {"persona": persona.seed_persona}, "name": persona.name, **persona.profile}


def _numbers(person_ids: Sequence[str]) -> dict[str, int]:
    """Integers for our ids: the released ones where all ids are theirs (`p0521`), else counted from 0 in order."""
    ordered = sorted(set(person_ids))
    matches = {person_id: _NUMBERED.fullmatch(person_id) for person_id in ordered}
    if all(matches.values()):
        return {person_id: int(match[1]) for person_id, match in matches.items() if match}
    return {person_id: number for number, person_id in enumerate(ordered)}


def _rejected(question: Question, reason: str) -> Rejection:
    return Rejection(row_id=question.question_id, person_id=question.person_id, reason=reason)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
