"""What `test_two_processes` runs on each of two ranks: one step per aggregation, gradients and rollouts into files.

accelerate launch --config_file docker/accelerate/cpu.yaml -m tests.training.two_ranks OUT
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.presets import GrpoConfig
from personamem_pipeline.training.grpo.curriculum import Item, curriculum
from personamem_pipeline.training.grpo.trainer import MemoryGRPOTrainer
from personamem_pipeline.training.tokenizer import build_tokenizer
from tests.training.conftest import TEXTS, make_policy, question
from tests.training.harness import GROUP, Step, train

AGGREGATIONS = ("token", "trajectory", "constant", "row")
LENGTHS = (1, 4, 2)


STEPS = GrpoConfig(steps=3, prompts_per_step=2, rollouts=GROUP, micro_batch_rows=4, learning_rate=1.0, seed=3)


def asked_of(step: Step) -> list[set[str]]:
    """Rows that this rank's rollouts really showed the model, per optimizer step: what they were asked, whom they read."""
    config, scored = step.trainer.config, step.scored
    each = len(scored) // config.steps
    return [
        {
            row
            for own in scored[start : start + each]
            for item in own.rollout.items
            for row in (item.question.question_id, item.question.person_id)
        }
        for start in range(0, len(scored), each)
    ]


def asked() -> list[Item]:
    config = GrpoConfig(steps=1, prompts_per_step=2, rollouts=GROUP, micro_batch_rows=4, learning_rate=1.0, seed=3)
    return curriculum([question(number) for number in range(3)], config)


class Counting(MemoryGRPOTrainer):
    """Writes down how many prompts each call of the sampler had."""

    def __init__(self, **kwargs: Any) -> None:
        self.calls: list[int] = []
        super().__init__(**kwargs)

    def _sample(self, rows: Any, max_tokens: int, temperature: float, seed: int) -> Any:
        self.calls.append(len(rows))
        return super()._sample(rows, max_tokens, temperature, seed)


def main(out: Path) -> None:
    renderer = Renderer(build_tokenizer(TEXTS))
    for aggregation in AGGREGATIONS:
        step = train(
            make_policy(renderer), asked(), renderer, out / "scratch", LENGTHS, writes=4, processes=2,
            aggregation=aggregation, trainer=Counting,
        )  # fmt: skip
        rank = step.trainer.accelerator.process_index
        gradients = {name.removeprefix("module."): value for name, value in step.gradients[0].items()}
        logged = step.trainer.state.log_history[0]
        found = {"gradients": gradients, "scored": step.scored, "calls": step.trainer.calls, "log": logged}
        torch.save(found, out / f"{aggregation}-{rank}.pt")
    several = train(
        make_policy(renderer), curriculum([question(number) for number in range(3)], STEPS), renderer, out / "scratch",
        LENGTHS, writes=4, processes=2, steps=STEPS.steps, prompts_per_step=STEPS.prompts_per_step,
    )  # fmt: skip
    torch.save(asked_of(several), out / f"steps-{several.trainer.accelerator.process_index}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
