"""Which rows a supervised run has taken its optimizer steps along, kept in the trainer's state.

The order of rows is drawn from torch's global generator when training begins, so nothing but the trainer itself can say
it. It counts what it was really given, and transformers writes the count into `trainer_state.json` with each saved step:
a resumed run goes on with the steps that it was resumed from.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_callback import ExportableState

from personamem_pipeline.errors import IntegrityError


class RowsSeen(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Positions of rows in what was trained on, per optimizer step, over all processes."""

    def __init__(self) -> None:
        self.steps: list[list[int]] = []

    def add(self, positions: Iterable[int]) -> None:
        """The next optimizer step is taken along these rows."""
        self.steps.append(sorted(set(positions)))

    def state(self) -> dict[str, Any]:
        """For transformers; a step is one text, as lists of numbers would take a line for each in `trainer_state.json`."""
        return {"args": {}, "attributes": {"steps": [" ".join(map(str, step)) for step in self.steps]}}

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        stored = state.stateful_callbacks.get(type(self).__name__, {}).get("attributes", {}).get("steps", [])
        self.steps = [[int(position) for position in step.split()] for step in stored]
        if len(self.steps) != state.global_step:
            raise IntegrityError(
                f"the saved step {state.global_step} names the rows of {len(self.steps)} steps",
                where=args.output_dir,
                remedy="delete this directory and train from the start: an earlier version saved the step",
            )
