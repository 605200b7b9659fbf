"""A file of predictions held against a benchmark, and as a system beside others.

What a file leaves unanswered is never taken as wrong, nor left out in silence: it is refused with a count, or, where a
person asks for it, scored as the part that it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from personamem_pipeline.evaluation.predictions_file import Faults, Prediction, Slot, read_predictions, short, slot_name
from personamem_pipeline.evaluation.records import Outputs
from personamem_pipeline.evaluation.source import Batch, Source
from personamem_pipeline.evaluation.systems.base import Listed, Named
from personamem_pipeline.records import Question


@dataclass(frozen=True)
class Checked:
    """Rows that answer a benchmark: wholly, or (`missing` not empty) a part of it."""

    rows: tuple[Prediction, ...]
    orders: int
    missing: tuple[Slot, ...]

    @property
    def choices(self) -> tuple[Prediction, ...]:
        return tuple(row for row in self.rows if row.order is not None)

    @property
    def opened(self) -> tuple[Prediction, ...]:
        return tuple(row for row in self.rows if row.order is None)


def check(
    rows: Sequence[Prediction], questions: Sequence[Question], path: Path, *, orders: int | None, partial: bool = False
) -> Checked:
    """Hold a file against a benchmark.

    `orders`: as many must be answered; None: as many as the file has. A file that answers one question openly must answer
    all. With `partial` what lacks is listed, not refused; unknown questions are refused always.
    """
    given = [row.order for row in rows if row.order is not None]
    asked = orders if orders is not None else max(given, default=-1) + 1
    known, faults = {question.question_id for question in questions}, Faults(path)
    for row in rows:
        if row.question_id not in known:
            faults.add("unknown question_id", f"line {row.line}: {short(row.question_id)}")
        elif row.order is not None and row.order >= asked:
            faults.add(f"order out of range, 0 to {asked - 1} are asked", f"line {row.line}: {row.order}")
    here = {row.slot for row in rows}
    wanted: list[int | None] = [*range(asked), *([None] if any(row.order is None for row in rows) else [])]
    missing = tuple(
        (question.question_id, order)
        for order in wanted
        for question in questions
        if (question.question_id, order) not in here
    )
    remedy = "predict for this benchmark: `personamem predictions questions` writes what it asks"
    if missing and not partial:
        for slot in missing:
            faults.add(f"of {len(wanted) * len(known)} answers missing", slot_name(slot))
        remedy += "; or score only what is there with --partial"
    faults.refuse(remedy)
    return Checked(tuple(rows), asked, missing)


@dataclass(frozen=True)
class Predictions(Listed):
    """A file as a system beside others. With a `source` the whole file is checked when it is first read, else what each
    batch asks; a question that the file does not answer is never taken as wrong."""

    named: Named
    path: Path
    source: Source | None = None

    @cached_property
    def rows(self) -> dict[Slot, Prediction]:
        """What the file says to what is asked; open answers only where they are wanted."""
        found = [row for row in read_predictions(self.path) if row.order is not None or self.named.open]
        if self.source is not None:
            check(found, self.source.questions, self.path, orders=self.source.orders)
        return {row.slot: row for row in found}

    def run(self, batch: Batch) -> Outputs:
        orders: list[int | None] = [*range(batch.orders), *([None] if self.named.open else [])]
        wanted = [(question.question_id, order) for question in batch.questions for order in orders]
        faults = Faults(self.path)
        for slot in wanted:
            if slot not in self.rows:
                faults.add(f"of {len(wanted)} answers missing", slot_name(slot))
        faults.refuse("a report compares whole runs: answer all, or take the file out of evaluation.systems")
        return Outputs(replies=tuple(self.rows[slot].reply for slot in wanted))
