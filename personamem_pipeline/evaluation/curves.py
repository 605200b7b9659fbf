"""The training curves of a checkpoint, from its passport: quantity -> (optimizer step, value) points.

Evaluation does not know training; it knows what a passport says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import PASSPORT
from personamem_pipeline.passports.records import read_passport

SHOWN = (("sft", "loss"), ("grpo", "reward"))
"""(stage, quantity) of the curves in the report."""
Points = list[tuple[int, float]]
_CURVES = TypeAdapter(dict[str, Points])


def read_curves(checkpoint: Path) -> dict[str, Points]:
    """All curves that a checkpoint's passport holds; none where it was not trained."""
    stated = (read_passport(checkpoint).model_extra or {}).get("curves", {})
    try:
        return _CURVES.validate_python(stated)
    except ValidationError as error:
        raise UserError(
            f"the training curves cannot be read: {error}",
            where=checkpoint / PASSPORT,
            expected='"curves": {"loss": [[1, 2.5], ...]}',
            remedy="materialize the checkpoint again",
        ) from error


def select(curves: Mapping[str, Mapping[str, Points]]) -> dict[str, Points]:
    """`stage quantity` -> its points in step order, of the curves that the report shows; `curves` are by stage."""
    found = {f"{stage} {quantity}": sorted(curves.get(stage, {}).get(quantity, [])) for stage, quantity in SHOWN}
    return {name: points for name, points in found.items() if points}
