"""Two processes with unequal numbers of turns have the gradients of one that rolled out all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.training.grpo.curriculum import curriculum, rows_of_steps
from tests.training.conftest import MEMORY, make_policy, question
from tests.training.harness import GROUP, assert_equal, by_hand
from tests.training.two_ranks import AGGREGATIONS, STEPS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    out = tmp_path_factory.mktemp("ranks")
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--config_file", "docker/accelerate/cpu.yaml",
        "--main_process_port", "0", "-m", "tests.training.two_ranks", str(out),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT), "TRL_EXPERIMENTAL_SILENCE": "1"}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return {
        name: [torch.load(out / f"{name}-{rank}.pt", weights_only=False) for rank in (0, 1)]
        for name in (*AGGREGATIONS, "steps")
    }


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_two_processes_have_the_hand_written_gradient(
    ranks: dict[str, list[dict[str, Any]]], renderer: Renderer, aggregation: str
) -> None:
    one, two = ranks[aggregation]
    assert_equal(one["gradients"], two["gradients"], tolerance=1e-9)
    scored = [*one["scored"], *two["scored"]]
    assert len(one["scored"]) == len(two["scored"]) == GROUP
    turns = [{len(own.rollout.turns) for own in rank["scored"]} for rank in (one, two)]
    assert turns[0] != turns[1], "the ranks read histories of different lengths"
    longest = 4 * MEMORY.memory_tokens + MEMORY.answer_tokens
    assert_equal(one["gradients"], by_hand(make_policy(renderer), scored, aggregation=aggregation, longest=longest))


def test_all_ranks_sample_equally_often_and_equally_many(ranks: dict[str, list[dict[str, Any]]]) -> None:
    one, two = (rank["calls"] for rank in ranks["token"])
    assert one == two == [GROUP] * len(one)


def test_the_rows_of_a_step_are_those_that_the_ranks_asked_together(ranks: dict[str, list[Any]]) -> None:
    one, two = ranks["steps"]
    items = curriculum([question(number) for number in range(3)], STEPS)
    assert any(a != b for a, b in zip(one, two, strict=True)), "the ranks ask different questions"
    assert [a | b for a, b in zip(one, two, strict=True)] == rows_of_steps(items, STEPS)


def test_figures_are_of_all_ranks(ranks: dict[str, list[dict[str, Any]]]) -> None:
    one, two = ranks["token"]
    paid = [reward.total for rank in (one, two) for own in rank["scored"] for reward in own.answers]
    assert one["log"]["reward/total"] == pytest.approx(sum(paid) / len(paid))
