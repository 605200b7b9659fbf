"""One row of a released PersonaMem-v2 table, typed, and its 27 cells exactly as they stand in the file.

A row holds the decoded values (`released_cells`); where writing one again would not give the very text that was read
(another spacing, `28768.0`), that text is kept in `spelling`. So `ReleasedRow.from_cells(cells).cells() == cells` for every
row that can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError

from personamem_pipeline.questions.released_cells import (
    FLAGS,
    JSONS,
    LITERALS,
    NUMBERS,
    CellError,
    decode,
    encode,
    is_expected,
)
from personamem_pipeline.records import Record


@dataclass(frozen=True)
class CellFault:
    """Why one cell cannot be read, or (`other_encoding`) that it was read although it is written in another way."""

    kind: str
    column: str
    detail: str


class Unreadable(ValueError):
    """A row that is none: the cells that cannot be read."""

    def __init__(self, faults: list[CellFault]) -> None:
        super().__init__("; ".join(f"{fault.column}: {fault.detail}" for fault in faults))
        self.faults = tuple(faults)


class ReleasedRow(Record):
    """The 27 columns in released order. Texts are empty, and counts None, where the cell is empty."""

    persona_id: int
    chat_history_32k_link: str
    chat_history_128k_link: str
    raw_persona_file: str
    short_persona: dict[str, Any] | str
    """`{"persona": sentence}`, or the sentence alone."""
    expanded_persona: dict[str, Any]
    user_query: dict[str, Any] | str
    """A chat message (`role`, `content`), or its text alone."""
    correct_answer: str
    incorrect_answers: tuple[str, ...]
    topic_query: str
    preference: str
    topic_preference: str
    conversation_scenario: str
    pref_type: str
    """As written: released files say `neutral_preference` and `neutral_preferences`. See `released_kinds`."""
    related_conversation_snippet: list[Any] | dict[str, Any] | str
    """A list of chat messages; what else stands there is kept, and `turns` takes from it what it can."""
    who: str
    updated: bool
    prev_pref: str
    sensitive_info: bool
    total_tokens_in_chat_history_32k: int | None
    total_tokens_in_chat_history_128k: int | None
    distance_from_related_snippet_to_query_32k: int | None
    distance_from_related_snippet_to_query_128k: int | None
    num_persona_relevant_tokens_32k: int | None
    num_persona_irrelevant_tokens_32k: int | None
    num_persona_relevant_tokens_128k: int | None
    num_persona_irrelevant_tokens_128k: int | None
    spelling: dict[str, str] = Field(default_factory=dict)
    """Column -> the cell's text, for cells that are not written in the usual way."""

    @classmethod
    def from_cells(cls, cells: Mapping[str, str]) -> ReleasedRow:
        """Decode a row; `cells` has exactly `COLUMNS`. Raises `Unreadable` with every cell that cannot be read."""
        values: dict[str, Any] = {}
        faults: list[CellFault] = []
        for column in COLUMNS:
            try:
                values[column] = decode(column, cells[column])
            except CellError as error:
                faults.append(CellFault(error.kind, column, str(error)))
        if faults:
            raise Unreadable(faults)
        try:
            row = cls(**values)
        except ValidationError as error:
            raise Unreadable(
                [CellFault("bad_value", str(item["loc"][0]), str(item["msg"])) for item in error.errors()]
            ) from error
        odd = {column: cells[column] for column in COLUMNS if encode(column, values[column]) != cells[column]}
        return row.model_copy(update={"spelling": odd}) if odd else row

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ReleasedRow:
        """Decode a row of the released JSON form: the same 27 names, null for an empty cell, numbers and flags bare."""
        if set(values) != set(COLUMNS):
            wrong = sorted(set(COLUMNS).symmetric_difference(values))
            raise Unreadable([CellFault("bad_columns", name, "missing or unknown") for name in wrong])
        return cls.from_cells({name: "" if values[name] is None else str(values[name]) for name in COLUMNS})

    def cells(self) -> dict[str, str]:
        """The cells' texts in released order."""
        return {
            column: self.spelling[column] if column in self.spelling else encode(column, getattr(self, column))
            for column in COLUMNS
        }

    def to_json(self) -> dict[str, Any]:
        """The released JSON form of the row."""
        cells = self.cells()
        bare = {*FLAGS, *NUMBERS} - set(self.spelling)
        return {
            name: (getattr(self, name) if name in bare else cells[name]) if cells[name] else None for name in COLUMNS
        }

    @property
    def other_encodings(self) -> tuple[CellFault, ...]:
        """Cells that hold JSON where a Python literal is expected, or the other way round."""
        return tuple(
            CellFault("other_encoding", column, _OTHER[column in LITERALS])
            for column in (*LITERALS, *JSONS)
            if column in self.spelling and not is_expected(column, self.spelling[column])
        )

    @property
    def sentence(self) -> str:
        """The seed sentence."""
        return self.short_persona if isinstance(self.short_persona, str) else str(self.short_persona.get("persona", ""))

    @property
    def turns(self) -> list[tuple[str, str]]:
        """(role, text) of the snippet's messages; the role is empty where the snippet does not tell it."""
        return _turns(self.related_conversation_snippet)

    @property
    def query(self) -> str | None:
        """The question's text; None when it has parts that are not text (images)."""
        return self.user_query if isinstance(self.user_query, str) else content_text(self.user_query.get("content"))


COLUMNS: tuple[str, ...] = tuple(name for name in ReleasedRow.model_fields if name != "spelling")
"""The 27 columns in released order."""
_OTHER = {True: "JSON where the released files have a Python literal", False: "a Python literal instead of JSON"}


def content_text(content: Any) -> str | None:
    """The text of a message's content: a text, or the multimodal list of parts when all of them are text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        return None
    texts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content]
    return "\n".join(texts) if all(isinstance(text, str) for text in texts) else None  # type: ignore[arg-type]


def _turns(value: Any) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [("", value)] if value else []
    if isinstance(value, dict) and "content" in value:
        text = content_text(value["content"])
        return [(str(value.get("role", "")), text)] if text else []
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [turn for part in parts for turn in _turns(part)]
