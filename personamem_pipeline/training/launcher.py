"""`accelerate launch` for stages: exit codes that tell, last words that are the stage's, and time to save.

    python -m personamem_pipeline.training.launcher --processes 2 personamem_pipeline.training.grpo --job job.json

accelerate and torchrun do the launching (docker/accelerate has the configuration). Three things they do not do:

- **Exit codes.** torchrun ends with 1 whatever its workers ended with. Here: 0 done, 2 bad input, 143 stopped after
  saving, 128 + n killed by signal n, else the exit code of the rank that failed first.
- **Last words.** torchrun's report of a failure is a page without the reason. Ranks leave theirs in the error file that
  torchrun gives each of them, and the first one's is printed last.
- **Stopping.** torchrun passes SIGTERM on and kills after 30 s. Here the ranks have `--grace` seconds, for SIGTERM,
  SIGINT and the death of Dagster's process alike. A rank ends by itself when this process dies (`stage.Progress`).
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil  # type: ignore[import-untyped]  # accelerate brings it
import torch
from accelerate.commands.launch import launch_command, launch_command_parser
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from personamem_pipeline.errors import UserError
from personamem_pipeline.launch import GRACE, accelerate_config
from personamem_pipeline.progress import STARTER, started_by
from personamem_pipeline.stage import INTERRUPTED, REFUSED, from_dagster

POLL_SECONDS = 0.1


class Warden(threading.Thread):
    """Hands the wish to stop on to the ranks, and after the grace period ends those that did not.

    A thread, because the main thread waits in torchrun; the signal handler only raises the flag.
    """

    def __init__(self, grace: float, starter: int | None) -> None:
        super().__init__(daemon=True)
        self._grace, self._starter = grace, starter
        self._stop = threading.Event()

    def listen(self) -> None:
        """Take SIGTERM and SIGINT from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, frame: self._stop.set())
        self.start()

    def run(self) -> None:
        while not self._stop.wait(POLL_SECONDS) and self._starter in (None, os.getppid()):
            pass
        told: set[int] = set()
        end = time.monotonic() + self._grace
        while time.monotonic() < end:
            for rank in psutil.Process().children():  # again and again: some may still be starting
                if rank.pid not in told:
                    told.add(rank.pid)
                    with suppress(psutil.NoSuchProcess):
                        rank.send_signal(signal.SIGTERM)
            time.sleep(POLL_SECONDS)
        for rank in psutil.Process().children():
            with suppress(ProcessLookupError, PermissionError):  # it ended just now
                os.killpg(rank.pid, signal.SIGKILL)  # torchrun starts each in a session of its own


def main(argv: Sequence[str] | None = None) -> int:
    """Run a stage's module as several processes of this machine; the exit code is the stage's."""
    parser = argparse.ArgumentParser(description="Run one stage as several processes of this machine.")
    parser.add_argument("--processes", type=int, required=True, help="one per GPU; the preset says how many")
    parser.add_argument("--grace", type=float, default=GRACE, help="seconds to save in, once asked to stop")
    parser.add_argument("module", help="personamem_pipeline.training.grpo, for example")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the stage's own: --job FILE")
    asked = parser.parse_args(argv)
    Warden(asked.grace, started_by() if from_dagster() else None).listen()
    os.environ[STARTER] = str(os.getpid())  # the ranks'
    try:
        config = str(accelerate_config(asked.processes, torch.cuda.device_count()))
    except UserError as error:
        _say(f"error: {error}")
        return REFUSED
    command = ["--config_file", config, "--num_processes", str(asked.processes), "-m", asked.module, *asked.arguments]
    options = launch_command_parser().parse_args(command)
    options.signals_to_handle = "SIGQUIT"  # torchrun's list without those that are the warden's
    logging.disable(logging.ERROR)  # torchrun's report, of which `_report` tells what matters
    with TemporaryDirectory(prefix="personamem-launch-") as directory:
        options.log_dir = directory  # torchrun's own stays behind
        try:
            launch_command(options)
        except ChildFailedError as error:
            return _report(error)
    return 0


def _report(error: ChildFailedError) -> int:
    """Say why the ranks failed; the exit code that stands for all."""
    refused = [failure for failure in error.failures.values() if failure.exitcode == REFUSED]
    if refused:  # never a consequence of another rank's failure, as all other codes may be
        _say(*(f"error: {words}" for words in _words(refused[0])))
        return REFUSED
    rank, first = error.get_first_failure()
    if first.exitcode == INTERRUPTED:
        return INTERRUPTED
    how = f"signal {-first.exitcode}" if first.exitcode < 0 else f"exit code {first.exitcode}"
    _say(f"rank {rank} of the stage was the first to fail, with {how}", *_words(first))
    code: int = first.exitcode
    return 128 - code if code < 0 else code


def _words(failure: ProcessFailure) -> list[str]:
    """What the rank left in its error file, if it could."""
    return [str(failure.error_file_data["message"])] if Path(failure.error_file).is_file() else []


def _say(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
