"""A stand-in for a stage of several processes. `TINY_RANKS=<how>[:<rank>]` makes it, or that rank alone, misbehave.

hows: reduce (an all_reduce over gloo), refuse, crash, kill, wait (for a stop, then rank 0 saves slowly), deaf (to a stop).
It imports torch only where it needs it, so that a launch costs little more than its launcher.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from personamem_pipeline.errors import UserError
from personamem_pipeline.progress import Interrupted, Progress
from personamem_pipeline.stage import run_stage
from personamem_pipeline.stage_job import StageJob, StageResult

PATIENCE = 40


def main(job: StageJob, progress: Progress) -> StageResult:
    how, _, rank = os.environ["TINY_RANKS"].partition(":")
    here = Path(job.scratch_directory())
    (here / f"rank-{progress.rank}").write_text(str(os.getpid()))
    progress.say("%s of %d processes", job.stage, progress.processes)
    if rank and int(rank) != progress.rank:
        wait(lambda: progress.stop_requested)
        raise RuntimeError("lost a peer")  # what a collective says when another rank is gone
    if how == "reduce":
        return StageResult(kind="sums", version="v", metrics={"sum": reduced()})
    if how == "refuse":
        raise UserError("the dataset has no rows", where="somewhere", remedy="materialize it again")
    if how == "crash":
        raise RuntimeError("out of luck")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "deaf":
        wait(lambda: False)
    wait(lambda: progress.stop_requested)
    if progress.is_main:
        time.sleep(0.5)
        (here / "saved").write_text(str(progress.stop_requested))
    raise Interrupted("saved step 1")


def wait(over: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not over():
        if time.monotonic() > deadline:
            sys.exit(7)
        time.sleep(0.02)


def reduced() -> float:
    """The sum of rank + 1 over all ranks, through accelerate as a trainer would."""
    import torch
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    value = accelerator.reduce(torch.tensor(accelerator.process_index + 1.0))
    accelerator.end_training()
    return float(value)


if __name__ == "__main__":
    run_stage(main)
