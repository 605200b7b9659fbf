"""The training curves of a checkpoint, from the `metrics.jsonl` that its stage wrote: one JSON object per logged step.

Evaluation does not know training; it knows this file format: `stage`, `step`, and any numbers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from personamem_pipeline.errors import UserError

SHOWN = (("sft", "loss"), ("grpo", "reward"))
"""(stage, quantity) of the curves in the report."""
Points = list[tuple[int, float]]


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of one `metrics.jsonl`; a line that is no row is an error that names it."""
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"line {number} is not JSON: {error}", where=path, remedy="run the stage again") from error
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise UserError(f"line {number} has no step", where=path, expected='{"stage": ..., "step": 1, ...}')
        rows.append(row)
    return rows


def find_metrics(checkpoint: Path, store_root: Path, version: str) -> Path | None:
    """Where a checkpoint's curves are: in the checkpoint, or in the scratch directory of the stage that made it."""
    if (inside := checkpoint / "metrics.jsonl").is_file():
        return inside
    for result in sorted((store_root / "scratch").glob("*/result.json")):
        path = result.parent / "metrics.jsonl"
        if path.is_file() and json.loads(result.read_text()).get("version") == version:
            return path
    return None


def select(rows: Sequence[dict[str, Any]]) -> dict[str, Points]:
    """`stage quantity` -> its points in step order, for the curves that the report shows."""
    found: dict[str, Points] = {}
    for stage, quantity in SHOWN:
        logged = [row for row in rows if row.get("stage") == stage and row.get(quantity) is not None]
        points = [(row["step"], float(row[quantity])) for row in logged]
        if points:
            found[f"{stage} {quantity}"] = sorted(points)
    return found
