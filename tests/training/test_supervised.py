"""The supervised trainer: one gradient however a batch is split, no step along no number, steps to go on from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import CHECKPOINTS
from personamem_pipeline.progress import Interrupted, Progress
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.store import Store
from personamem_pipeline.training.steps import STATE, last_step
from personamem_pipeline.training.supervised import TrainRow, fit
from tests.training.fitting import config, recorded_gradients, recorded_rows, renderer, rows, tiny

RENDERER = renderer()
VOCABULARY = len(RENDERER.tokenizer)


def gradients(scratch: Path, batch: list[TrainRow], **figures: Any) -> list[list[torch.Tensor]]:
    """Of every step, all at the start's weights."""
    with recorded_gradients() as steps:
        fit(tiny(VOCABULARY), RENDERER.tokenizer, batch, config(learning_rate=0.0, **figures), scratch, Progress())
    return steps


def assert_equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def by_hand(batch: list[TrainRow]) -> list[torch.Tensor]:
    """The gradient of the mean over rows of each row's mean negative log-likelihood, without any padding."""
    model = tiny(VOCABULARY)
    total = torch.zeros(())
    for row in batch:
        ids = torch.tensor([[*row.prompt_ids, *row.completion_ids]])
        chances = model(input_ids=ids).logits.log_softmax(-1)[0, len(row.prompt_ids) - 1 : -1]
        total = total - chances[torch.arange(len(row.completion_ids)), list(row.completion_ids)].mean()
    (total / len(batch)).backward()
    return [weight.grad for weight in model.parameters() if weight.grad is not None]


def in_order(steps: list[list[torch.Tensor]]) -> list[torch.Tensor]:
    """Sorted, since the optimizer groups weights by whether they decay."""
    return sorted(steps[0], key=lambda g: (g.numel(), float(g.abs().sum())))


@pytest.mark.parametrize("micro", [None, 4, 2, 1])
def test_the_gradient_is_the_mean_over_the_rows_of_the_whole_batch(micro: int | None, tmp_path: Path) -> None:
    batch = rows(8, VOCABULARY)
    steps = gradients(tmp_path, batch, steps=1, batch_size=8, micro_batch_rows=micro)
    assert_equal(in_order(steps), in_order([by_hand(batch)]))


def test_every_step_of_a_split_run_has_the_rows_of_the_unsplit_one(tmp_path: Path) -> None:
    batch = rows(24, VOCABULARY)
    whole = gradients(tmp_path / "whole", batch, batch_size=8)
    split = gradients(tmp_path / "split", batch, batch_size=8, micro_batch_rows=2)
    assert len(whole) == len(split) == 3
    for one, other in zip(whole, split, strict=True):
        assert_equal(one, other)
    assert not torch.allclose(whole[0][0], whole[1][0])


def test_two_processes_take_the_steps_of_one_and_store_one_checkpoint(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "-m", "tests.training.fitting", str(tmp_path)],
        cwd=PROJECT, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True, timeout=240, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    with recorded_gradients() as alone:
        figures = config(batch_size=8, micro_batch_rows=2)
        fit(tiny(VOCABULARY), RENDERER.tokenizer, rows(24, VOCABULARY), figures, tmp_path / "alone", Progress())
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]
    for together, version, _, _ in ranks:
        assert len(together) == len(alone) == 3
        for one, other in zip(alone, together, strict=True):
            assert_equal(one, other)
        assert Store(tmp_path / "store").verified(CHECKPOINTS, version)
    assert [path.name for path in (tmp_path / "store" / CHECKPOINTS).iterdir()] == [ranks[0][1]]
    (_, _, one, seen), (_, _, two, also_seen) = ranks
    assert seen == also_seen == [sorted(a | b) for a, b in zip(one, two, strict=True)]
    assert all(not a & b and len(a | b) == 8 for a, b in zip(one, two, strict=True))


class StopsAfter(Progress):
    """Asks to stop after some looks: one after each step."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    @property
    def stop_requested(self) -> bool:
        self.left -= 1
        return self.left <= 0


def test_a_stopped_run_goes_on_to_the_weights_of_an_unbroken_one(tmp_path: Path) -> None:
    batch, figures = rows(16, VOCABULARY), config(steps=4, save_steps=100, micro_batch_rows=2)
    unbroken, stopped, resumed = (tiny(VOCABULARY) for _ in range(3))
    with recorded_rows(unbroken, batch) as consumed:
        whole = fit(unbroken, RENDERER.tokenizer, batch, figures, tmp_path / "unbroken", Progress())
    assert whole.seen.steps == [sorted(step) for step in consumed]
    with pytest.raises(Interrupted, match="step 2 of 4"):
        fit(stopped, RENDERER.tokenizer, batch, figures, tmp_path / "broken", StopsAfter(2))
    with recorded_rows(resumed, batch) as after:
        broken = fit(resumed, RENDERER.tokenizer, batch, figures, tmp_path / "broken", Progress())
    assert broken.seen.steps == whole.seen.steps
    assert after == consumed[2:], "only the steps that were left"
    for one, other in zip(unbroken.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_rows_of_another_number_of_steps_than_were_saved_are_refused(tmp_path: Path) -> None:
    batch, figures = rows(16, VOCABULARY), config(steps=4, save_steps=2)
    with pytest.raises(Interrupted):
        fit(tiny(VOCABULARY), RENDERER.tokenizer, batch, figures, tmp_path, StopsAfter(2))
    state = tmp_path / "checkpoint-2" / STATE
    told = json.loads(state.read_text())
    told["stateful_callbacks"].pop("RowsSeen")  # as versions before this one left it
    state.write_text(json.dumps(told))
    with pytest.raises(UserError, match="step 2 names the rows of 0 steps"):
        fit(tiny(VOCABULARY), RENDERER.tokenizer, batch, figures, tmp_path, Progress())


def test_a_loss_that_is_no_number_stops_the_run_after_its_last_step(tmp_path: Path) -> None:
    figures = config(steps=9, save_steps=100, learning_rate=1e30, warmup_share=0.3)
    with pytest.raises(UserError) as caught:
        fit(tiny(VOCABULARY), RENDERER.tokenizer, rows(16, VOCABULARY), figures, tmp_path, Progress())
    assert "step 3: the loss is" in str(caught.value) and "learning rate" in str(caught.value)
    last = last_step(tmp_path)
    assert last is not None and last.endswith("checkpoint-2")
    weights = torch.nn.utils.parameters_to_vector(type(tiny(VOCABULARY)).from_pretrained(last).parameters())
    assert weights.isfinite().all()  # large, as that learning rate made them, but whole
    with pytest.raises(UserError, match="step 3"):  # goes on from there
        fit(tiny(VOCABULARY), RENDERER.tokenizer, rows(16, VOCABULARY), figures, tmp_path, Progress())


def test_another_number_of_processes_than_the_preset_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="accelerate launch --num_processes 2"):
        fit(tiny(VOCABULARY), RENDERER.tokenizer, rows(8, VOCABULARY), config(processes=2), tmp_path, Progress())
