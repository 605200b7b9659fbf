"""How a run goes, whatever it trains on: stopping, refusing numbers that are none, saving, what is logged.

Several processes decide together: a signal reaches one rank a moment before another, and a rank that stopped alone would
leave the others waiting in a collective.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from accelerate.utils import gather_object

from personamem_pipeline.errors import UserError
from personamem_pipeline.training.grpo.loss import LossHookTrainer
from personamem_pipeline.training.grpo.watch import Means
from personamem_pipeline.training.ranks import any_process


class StopTraining(Exception):
    """Training was asked to stop; the model is as it was after the last whole optimizer step."""


class RunTrainer(LossHookTrainer):
    """Stops between micro-steps, takes no step along a gradient that is no number, and logs figures of all ranks."""

    stop: Callable[[], bool]

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One micro-step; refuses to go on once somebody asked to stop."""
        self._stop_if_asked()
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> float:
        """The gradient's norm before clipping, over all ranks. Called before the optimizer's step: the last stop."""
        norm = float(super()._get_grad_norm(model, grad_norm=grad_norm))
        if not math.isfinite(norm):
            raise UserError(
                f"the gradient of optimizer step {self.state.global_step + 1} is {norm}; the step was not taken",
                expected="finite numbers",
                remedy="lower grpo.learning_rate or grpo.temperature, or raise grpo.warmup_steps; then run again",
            )
        return norm

    def _stop_if_asked(self) -> None:
        if self._on_any_rank(self.stop()):
            raise StopTraining

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
            spent = figures.get("time/generate", 0.0) + figures.get("time/judge", 0.0)
            figures["time/train"] = step_time - spent
            figures["tokens/second"] = figures["tokens/step"] * self.accelerator.num_processes / step_time
        self._metrics["train"].pop("entropy", None)  # TRL's counts dummy micro-batches as 0; ours is told apart by kind
        for name, value in figures.items():
            self._metrics["train"][name].append(value)
        super().log(logs, start_time)
