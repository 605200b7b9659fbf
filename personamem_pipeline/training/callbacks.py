"""Callbacks of the trainers: how a run hears of a stop, and what it tells of its progress.

Of several processes only the first speaks. Times are told and never stored, so that equal runs leave equal files.
"""

from __future__ import annotations

import atexit
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from transformers import TrainerCallback, TrainerControl, TrainerState

from personamem_pipeline.progress import Progress
from personamem_pipeline.training.ranks import any_process

WINDOW = 50
"""Steps whose mean duration foretells the rest: enough to smooth long and short histories, few enough to notice a change."""


class Pace:
    """How long steps take, and what is left at that pace."""

    def __init__(self, steps: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.steps, self._clock = steps, clock
        self._ends: deque[tuple[int, float]] = deque(maxlen=WINDOW + 1)

    def mark(self, step: int) -> None:
        """`step` steps are done now."""
        self._ends.append((step, self._clock()))

    def told(self) -> str:
        """`41 s/step, 5 h 33 min left`; empty before there is a whole step to measure."""
        if not self._ends or (done := self._ends[-1][0] - self._ends[0][0]) == 0:
            return ""
        step = self._ends[-1][0]
        each = (self._ends[-1][1] - self._ends[0][1]) / done
        pace = f"{each:.2g} s/step" if each < 10 else f"{each:.0f} s/step"
        return pace if step >= self.steps else f"{pace}, {duration(each * (self.steps - step))} left"


def duration(seconds: float) -> str:
    """The two largest units of a time: `41 s`, `2 min 5 s`, `5 h 33 min`, `3 d 4 h`."""
    whole = round(seconds)
    units = (("d", whole // 86400), ("h", whole // 3600 % 24), ("min", whole // 60 % 60), ("s", whole % 60))
    first = next((number for number, (_, count) in enumerate(units) if count), len(units) - 1)
    shown = units[first : first + 2]
    return " ".join(f"{count} {unit}" for unit, count in shown if count) or "0 s"


class LogSteps(TrainerCallback):  # type: ignore[misc]
    """Passes the trainer's logs on and tells how far it is: a bar on a terminal, else one line per logged step.

    Args:
        on_log: gets (optimizer step, numbers), in the first process only.
        steps: optimizer steps of the whole run.
        watched: the quantity that is told.
        console: where a bar is drawn; by default standard error where that is a terminal, else nowhere.
    """

    def __init__(
        self,
        progress: Progress,
        on_log: Callable[[int, dict[str, float]], None],
        steps: int,
        watched: str = "loss",
        *,
        clock: Callable[[], float] = time.monotonic,
        console: Console | None = None,
    ) -> None:
        self.progress, self._on_log, self.steps, self.watched = progress, on_log, steps, watched
        self._pace = Pace(steps, clock)
        self._console = console or (Console(stderr=True) if sys.stderr.isatty() else None)
        self._bar: Bar | None = None

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._pace.mark(state.global_step)
        if state.is_world_process_zero and self._console:
            self._bar = _bar(self._console, self.watched, self.steps, state.global_step)

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> TrainerControl:
        self._pace.mark(state.global_step)
        self._show(state.global_step)
        return control

    def on_log(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        values = {key: float(value) for key, value in kwargs.get("logs", {}).items() if isinstance(value, (int, float))}
        if self.watched in values:
            self._tell(state.global_step, values[self.watched])
        self._on_log(state.global_step, values)

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._bar:
            self._bar.stop()

    def _tell(self, step: int, value: float) -> None:
        if self._bar:
            self._show(step, f"{self.watched} {value:.4f}")
        else:
            line = f"step {step}/{self.steps} {self.watched} {value:.4f}"
            self.progress.say("%s", ", ".join(filter(None, (line, self._pace.told()))))

    def _show(self, step: int, told: str | None = None) -> None:
        if self._bar:  # rich keeps the description where it is None
            self._bar.update(self._bar.task_ids[0], completed=step, description=told, pace=self._pace.told())
            self._bar.refresh()


class StopAndLog(LogSteps):
    """`LogSteps` that also saves and ends the run after the step in which a stop was asked for, on all ranks at once."""

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> TrainerControl:
        super().on_step_end(args, state, control, **kwargs)
        if any_process(self.progress.stop_requested, args.device):
            control.should_save = control.should_training_stop = True
        return control


def _bar(console: Console, watched: str, steps: int, done: int) -> Bar:
    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        console=console,
        auto_refresh=False,  # drawn when a step ends: no thread beside the training
    )
    bar.add_task(watched, total=steps, completed=done, pace="")
    bar.start()
    console.show_cursor()  # a killed run must not leave the terminal without one
    atexit.register(bar.stop)  # a failed run ends no training; stopping twice is stopping once
    return bar
