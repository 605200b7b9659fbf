"""`rows.json`: which rows of the training dataset each optimizer step saw.

What a step saw is the trainer's to say (`training.seen`, `training.grpo.curriculum`); here it becomes a file, and is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.passports.records import ROWS, RowsUsed
from personamem_pipeline.seeds import canonical_json


def rows_used(steps: Iterable[Iterable[str]]) -> RowsUsed:
    """Row ids of each optimizer step, in any order and with repetitions -> the record; equal for equal sets."""
    sets = [set(step) for step in steps]
    ids = sorted(set().union(*sets))
    place = {row: number for number, row in enumerate(ids)}
    return RowsUsed(ids=tuple(ids), steps=tuple(tuple(sorted(place[row] for row in step)) for step in sets))


def summary(used: RowsUsed) -> dict[str, int]:
    """What the passport says of the file: `steps`, and `rows`, how many different ones."""
    return {"steps": len(used.steps), "rows": len(used.ids)}


def rows_text(used: RowsUsed) -> str:
    """The file: one line for the ids and one for each step, so that a person can find a step by its line."""
    steps = ",\n".join(canonical_json(step) for step in used.steps)
    return f'{{"format":{used.format},\n"ids":{canonical_json(used.ids)},\n"steps":[\n{steps}\n]}}\n'


def read_rows(directory: Path) -> RowsUsed:
    """`rows.json` of a checkpoint directory; `IntegrityError` when there is none, or steps name rows that it has not."""
    path = directory / ROWS
    try:
        return parse_rows(path.read_bytes(), path)
    except FileNotFoundError:
        raise IntegrityError(
            "the checkpoint does not say which rows it saw", where=path, remedy="materialize it again"
        ) from None


def parse_rows(content: bytes, where: Path | str) -> RowsUsed:
    """The record with this content; `IntegrityError` when it is none, or steps name rows that it has not."""
    try:
        used = RowsUsed.model_validate_json(content)
    except ValidationError as error:
        raise IntegrityError(f"not a list of rows: {error}", where=where, remedy="materialize it again") from error
    last = len(used.ids) - 1
    for number, step in enumerate(used.steps, start=1):
        if step and not 0 <= min(step) <= max(step) <= last:
            raise IntegrityError(
                f"step {number} names row {max(step)}",
                where=where,
                expected=f"0 to {last}",
                remedy="materialize it again",
            )
    return used


def steps_of(used: RowsUsed, rows: Iterable[str]) -> Mapping[str, list[int]]:
    """Row id -> the numbers (from 1) of the optimizer steps that saw it, of those `rows` that any step saw."""
    wanted = set(rows)
    found: dict[str, list[int]] = {used.ids[place]: [] for place in range(len(used.ids)) if used.ids[place] in wanted}
    for number, step in enumerate(used.steps, start=1):
        for place in step:
            if (row := used.ids[place]) in found:
                found[row].append(number)
    return found
