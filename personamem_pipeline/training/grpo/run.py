"""How a run goes, whatever it trains on: stopping, refusing numbers that are none, saving, what is logged.

Several processes decide together: a signal reaches one rank a moment before another, and a rank that stopped alone would
leave the others waiting in a collective.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from accelerate.utils import gather_object

from personamem_pipeline.errors import UserError
from personamem_pipeline.training.grpo.loss import LossHookTrainer
from personamem_pipeline.training.grpo.watch import Means
from personamem_pipeline.training.ranks import any_process

T = TypeVar("T")


class StopTraining(Exception):
    """Training was asked to stop; the model is as it was after the last whole optimizer step."""


def stoppable(work: Callable[[], T], stop: Callable[[], bool], every: float = 0.5) -> T:
    """Do what waits for somebody else (a judge) so that a stop is heard meanwhile: then `StopTraining`, within `every` s.

    What is abandoned so ends with the process. Its answers so far are in the endpoint's cache.
    """
    outcome: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # told to whoever waits
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(every)
        if thread.is_alive() and stop():
            raise StopTraining
    if errors:
        raise errors[0]
    return outcome[0]


class RunTrainer(LossHookTrainer):
    """Stops between micro-steps, takes no step along a gradient that is no number, and logs figures of all ranks."""

    stop: Callable[[], bool]
    agreed: bool = False
    """Whether all ranks know why training ended. Only then may they do something together, such as saving."""

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One micro-step; refuses to go on once somebody asked to stop."""
        self._stop_if_asked()
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> float:
        """The gradient's norm before clipping, over all ranks. Called before the optimizer's step: the last stop."""
        norm = float(super()._get_grad_norm(model, grad_norm=grad_norm))
        if not math.isfinite(norm):
            self.agreed = True
            raise UserError(
                f"the gradient of optimizer step {self.state.global_step + 1} is {norm}; the step was not taken",
                expected="finite numbers",
                remedy="lower grpo.learning_rate or grpo.temperature, or raise grpo.warmup_steps; then run again",
            )
        return norm

    def _stop_if_asked(self) -> None:
        if self._on_any_rank(self.stop()):
            self.agreed = True
            raise StopTraining

    def _together(self, work: Callable[[], T]) -> T:
        """Do what only this rank does (ask a judge, an engine, a disk); what goes wrong on one rank is raised on all.

        A rank that failed alone would leave the others waiting for it in the next collective.
        """
        done: T | None = None
        problem: UserError | StopTraining | None = None
        try:
            done = work()
        except (UserError, StopTraining) as error:
            problem = error
        problems = [error for error in gather_object([problem]) if error is not None]
        if problems:
            self.agreed = True
            raise problem or problems[0]
        return cast(T, done)

    def _on_any_rank(self, flag: bool) -> bool:
        return any_process(flag, self.accelerator.device)

    def save_step(self) -> None:
        """Keep the last whole optimizer step, unless it was kept when it was made. Called after `StopTraining`."""
        if self.state.global_step % self.args.save_steps:
            self._save_checkpoint(self.model, trial=None)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add this step's own figures, merged over all ranks, to TRL's."""
        merged = Means()
        for own in gather_object([self.means]):
            merged.merge(own)
        self.means = Means()
        figures = merged.means()
        if "tokens/step" in figures:  # a step that began with rollouts
            step_time = self._metrics["train"]["step_time"][-1]
            spent = sum(figures.get(f"time/{part}", 0.0) for part in ("generate", "judge", "sync"))
            figures["time/train"] = step_time - spent
            figures["tokens/second"] = figures["tokens/step"] * self.accelerator.num_processes / step_time
        for diluted in ("entropy", "kl"):  # TRL's count dummy micro-batches as 0; ours are entropy/* and kl_to_start
            self._metrics["train"].pop(diluted, None)
        for name, value in figures.items():
            self._metrics["train"][name].append(value)
        super().log(logs, start_time)
