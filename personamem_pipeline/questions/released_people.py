"""The released files by person: whose rows are where, and each person's history.

What a split is follows from the files: a person of the benchmark's table is a benchmark person, wherever else they occur
(the released training tables share a person with it); the training rows of such a person are rejected, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

from personamem_pipeline.conversations.counting import count_gpt4o
from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import ReleasedConfig
from personamem_pipeline.questions.released import ReleasedHistory, read_history
from personamem_pipeline.questions.released_csv import ReadRow, ReleasedCsv
from personamem_pipeline.questions.released_evidence import Located, locate
from personamem_pipeline.questions.released_rows import ReleasedRow
from personamem_pipeline.records import Message, Rejection, Split
from personamem_pipeline.settings import PROJECT

TOKENIZER = "gpt-4o"
_ID = re.compile(r"p(\d{4,9})")


def person_id(number: int) -> str:
    """`p0521` for the released person 521."""
    return f"p{number:04d}"


def person_number(name: str) -> int:
    """521 for `p0521`; `UserError` for an id that is not ours."""
    match = _ID.fullmatch(name)
    if not match:
        raise UserError(f"{name!r} is no person of the released files", expected="an id such as p0521")
    return int(match[1])


@dataclass(frozen=True)
class Files:
    """The tables of a configuration, opened: their headers were read."""

    root: Path
    tables: tuple[tuple[Split, ReleasedCsv], ...]
    """Benchmark first: it wins."""
    size: str

    def numbers(self) -> dict[int, Split]:
        """Every person and their split, by number."""
        found: dict[int, Split] = {}
        for split, table in self.tables:
            for number in table.persons().places:
                found.setdefault(number, split)
        return dict(sorted(found.items()))

    def strays(self) -> list[Rejection]:
        """Records of which it cannot be told whose they are; they belong to no shard."""
        return [
            read.rejection() if read.row is None else _stray(read)
            for _, table in self.tables
            for read in table.read(table.persons().strays)
        ]

    def person(self, name: str) -> Person:
        """All of one person's rows."""
        number = person_number(name)
        own: list[ReadRow] = []
        shared: list[ReadRow] = []
        split: Split | None = None
        for where, table in self.tables:
            places = table.persons().places.get(number, ())
            split = where if places and split is None else split
            (own if where == split else shared).extend(table.read(places))
        if split is None:
            raise UserError(
                f"{name} has no rows",
                where=self.root,
                expected="a person of the released tables",
                remedy="materialize persona_seeds again: the files have changed",
            )
        return Person(name, split, self, tuple(own), tuple(shared))


def open_files(config: ReleasedConfig) -> Files:
    """Open the tables of a preset; `root` is relative to the project. `UserError` for a missing file or a wrong header."""
    root = PROJECT / Path(config.root).expanduser()
    benchmark = ReleasedCsv(root / config.benchmark)
    training = [ReleasedCsv(root / name) for name in config.training]
    return Files(root, (("benchmark", benchmark), *(("training", table) for table in training)), config.size)


@dataclass(frozen=True)
class Person:
    """One person's rows and history."""

    person_id: str
    split: Split
    files: Files
    read: tuple[ReadRow, ...]
    """The rows of the split, in the order of the files; broken ones too."""
    shared: tuple[ReadRow, ...]
    """Training rows of a benchmark person."""

    @cached_property
    def rows(self) -> list[tuple[str, ReleasedRow]]:
        """(question id, row) of the rows that could be read. The id counts the person's records, broken ones too, so that
        repairing a row renames no other."""
        return [
            (f"{self.person_id}.q{index:04d}", read.row) for index, read in enumerate(self.read) if read.row is not None
        ]

    @cached_property
    def row_ids(self) -> dict[str, str]:
        """Question id -> file and line."""
        return {f"{self.person_id}.q{index:04d}": read.row_id for index, read in enumerate(self.read)}

    @property
    def rejected(self) -> list[Rejection]:
        """The records that give no question whatever else holds."""
        shared = "split_overlap: the person is in the benchmark, so no row of theirs is trained on"
        return [
            *(read.rejection(self.person_id) for read in self.read if read.row is None),
            *(Rejection(row_id=read.row_id, person_id=self.person_id, reason=shared) for read in self.shared),
        ]

    @cached_property
    def history(self) -> ReleasedHistory:
        """The history that the person's rows link to; `UserError` when there is none or it cannot be read."""
        return read_history(history_path(self.files.root, self.link))

    @cached_property
    def problem(self) -> str:
        """Why the person cannot be used at all, as a rejection's reason; empty when they can."""
        if not self.rows:
            kinds = ", ".join(sorted({read.faults[0].kind for read in self.read}))
            return f"broken_row: none of {len(self.read)} rows can be read ({kinds})"
        try:
            _ = self.history
        except UserError as error:
            missing = not self.link or isinstance(error.__cause__, FileNotFoundError)
            return f"{'missing' if missing else 'unreadable'}_history: {error.where}: {error.problem}"
        return ""

    @property
    def link(self) -> str:
        return link_of([row for _, row in self.rows], self.files.size)

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        """The history without the profile, with the turn ids of our records."""
        return tuple(
            message.model_copy(update={"turn_id": f"{self.person_id}.{message.turn_id}"})
            for message in self.history.messages
        )

    @cached_property
    def located(self) -> dict[str, Located]:
        """Question id -> where the row's snippet is in `messages`."""
        tokens = _TokensToEnd(self.messages)
        return {
            question_id: locate(row.turns, self.messages, tokens.off(distance_of(row, self.files.size)))
            for question_id, row in self.rows
        }


def link_of(rows: Iterable[ReleasedRow], size: str) -> str:
    """The history that a person's rows link to: that of the first row."""
    return next((row.chat_history_32k_link if size == "32k" else row.chat_history_128k_link for row in rows), "")


def distance_of(row: ReleasedRow, size: str) -> int | None:
    """The released count of tokens from the snippet to the end; None where it says nothing (empty, or 0: not found)."""
    value = (
        row.distance_from_related_snippet_to_query_32k
        if size == "32k"
        else row.distance_from_related_snippet_to_query_128k
    )
    return value or None


def history_path(root: Path, link: str) -> Path:
    """The file of a link; `UserError` when the link is empty or leads out of the root."""
    # By its words, not resolved: downloads of the Hugging Face hub are links to blobs outside.
    if not link or Path(link).is_absolute() or ".." in Path(link).parts:
        raise UserError(
            f"the link to the history is {link!r}",
            where=root,
            expected="a path inside the root, such as data/chat_history_32k/chat_history_250913_163134_persona521.json",
            remedy="give the table of this root, or the other size (data.released.size)",
        )
    return root / link


class _TokensToEnd:
    """How many tokens stand from each message to the end; counted only when somebody asks."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages

    @cached_property
    def _from(self) -> list[int]:
        lengths = count_gpt4o([message.content for message in self._messages])
        return list(accumulate(reversed(lengths)))[::-1]

    def off(self, distance: int | None) -> Callable[[int], float] | None:
        """By how much a start misses a released distance."""
        if distance is None:
            return None
        return lambda place: abs(self._from[place] - distance)


def _stray(read: ReadRow) -> Rejection:
    return Rejection(row_id=read.row_id, person_id="", reason="bad_value: the person's number cannot be used")
