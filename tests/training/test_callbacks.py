"""What a run tells of its progress, by an injected clock; and that processes stop together."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from transformers import TrainerControl, TrainerState

from personamem_pipeline.progress import Progress
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.training.callbacks import LogSteps, Pace, StopAndLog, duration
from personamem_pipeline.training.ranks import any_process

ARGUMENTS = SimpleNamespace(device=torch.device("cpu"))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Run:
    """A trainer's part of the conversation: steps that take a time, each followed by a log."""

    def __init__(self, callback: LogSteps, clock: Clock, *, first: int = 0, zero: bool = True) -> None:
        self.callback, self.clock, self.control = callback, clock, TrainerControl()
        self.state = TrainerState(global_step=first, is_world_process_zero=zero)
        callback.on_train_begin(ARGUMENTS, self.state, self.control)

    def step(self, seconds: float, **logs: Any) -> None:
        self.clock.now += seconds
        self.state.global_step += 1
        self.callback.on_step_end(ARGUMENTS, self.state, self.control)
        self.callback.on_log(ARGUMENTS, self.state, self.control, logs=logs)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was logged by now."""
    caplog.set_level(logging.INFO, logger="personamem")
    return lambda: caplog.messages


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"), (0.4, "0 s"), (41.4, "41 s"), (59.6, "1 min"), (125, "2 min 5 s"), (3600, "1 h"), (3659, "1 h"),
        (19980, "5 h 33 min"), (86399.7, "1 d"), (270000, "3 d 3 h"),
    ],
)  # fmt: skip
def test_a_duration_has_at_most_two_units(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_a_log_line_tells_the_pace_and_what_is_left(said: Callable[[], list[str]]) -> None:
    clock, logged = Clock(), []
    callback = StopAndLog(Progress(), lambda *row: logged.append(row), 500, watched="reward", clock=clock)
    run = Run(callback, clock, first=11)
    run.step(41, reward=0.43121, note="text")
    run.step(39, loss=1.0)
    run.step(40, reward=1)
    assert said() == [
        "step 12/500 reward 0.4312, 41 s/step, 5 h 33 min left",
        "step 14/500 reward 1.0000, 40 s/step, 5 h 24 min left",
    ]
    assert logged == [(12, {"reward": 0.43121}), (13, {"loss": 1.0}), (14, {"reward": 1.0})], (
        "no times among the numbers"
    )
    assert not run.control.should_training_stop


def test_the_last_step_leaves_nothing() -> None:
    clock = Clock()
    pace = Pace(3, clock)
    assert pace.told() == ""
    pace.mark(1)
    assert pace.told() == ""
    for step in (2, 3):
        clock.now += 0.25
        pace.mark(step)
    assert pace.told() == "0.25 s/step"


def test_the_pace_is_that_of_the_last_steps() -> None:
    clock = Clock()
    pace = Pace(1000, clock)
    for step in range(400):
        clock.now += 100 if step < 300 else 2
        pace.mark(step)
    assert pace.told() == "2 s/step, 20 min 2 s left"


def test_only_the_first_process_speaks(said: Callable[[], list[str]]) -> None:
    clock, logged, screen = Clock(), [], io.StringIO()
    console = Console(file=screen, force_terminal=True)
    callback = LogSteps(Progress(), lambda *row: logged.append(row), 5, clock=clock, console=console)
    run = Run(callback, clock, zero=False)
    run.step(1, loss=0.5)
    callback.on_train_end(ARGUMENTS, run.state, run.control)
    assert said() == logged == [] and screen.getvalue() == ""


def test_a_terminal_shows_a_bar_instead_of_lines(said: Callable[[], list[str]]) -> None:
    clock, logged, screen = Clock(), [], io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, _environ={})
    callback = LogSteps(
        Progress(), lambda *row: logged.append(row), 500, watched="reward", clock=clock, console=console
    )
    run = Run(callback, clock, first=11)
    run.step(41, reward=0.43121)
    callback.on_train_end(ARGUMENTS, run.state, run.control)
    shown = screen.getvalue()
    assert "reward 0.4312" in shown and "12/500" in shown and "41 s/step, 5 h 33 min left" in shown
    assert said() == [] and logged == [(12, {"reward": 0.43121})]
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the terminal has its cursor back"


def test_no_terminal_no_bar() -> None:
    assert not sys.stderr.isatty(), "pytest captures it"
    callback = LogSteps(Progress(), lambda *row: None, 5)
    Run(callback, Clock()).step(1, loss=0.5)
    assert callback._bar is None


def test_a_stop_saves_and_ends_the_run() -> None:
    progress, clock = Progress(), Clock()
    run = Run(StopAndLog(progress, lambda *row: None, 5, clock=clock), clock)
    run.step(1)
    assert not run.control.should_save and not run.control.should_training_stop
    progress.stop()
    run.step(1)
    assert run.control.should_save and run.control.should_training_stop


RANK = """
import sys, torch
from personamem_pipeline.training.ranks import any_process
rank, where = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method=f"file://{where}", rank=rank, world_size=2)
print([any_process(here, torch.device("cpu")) for here in (False, rank == 1, True)])
torch.distributed.destroy_process_group()
"""


def test_processes_stop_together(tmp_path: Path) -> None:
    """One hears of the stop before the other."""
    assert any_process(True, torch.device("cpu")) and not any_process(False, torch.device("cpu"))
    command = [sys.executable, "-c", RANK]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)}
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "meet")], env=environment, text=True, stdout=subprocess.PIPE
        )
        for rank in range(2)
    ]
    assert [rank.communicate(timeout=120)[0].strip() for rank in ranks] == ["[False, True, True]"] * 2
