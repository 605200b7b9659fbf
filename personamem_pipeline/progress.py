"""How long work hears that it is to stop, and tells how far it is.

SIGTERM, SIGINT and the end of the process that started it mean: finish the step, save, end (`Interrupted`).
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from types import FrameType

from personamem_pipeline.launch import GRACE

STARTER = "STAGE_STARTER"
"""Variable: process id of whoever started the stage, and whose death it is not to outlive."""
HEARTBEAT = 60.0
logger = logging.getLogger("personamem")


class Interrupted(Exception):
    """The stage was asked to stop and has saved what it had."""


class Progress:
    """How a running stage hears of a stop and tells of its progress."""

    def __init__(self, rank: int = 0, processes: int = 1) -> None:
        self.rank, self.processes = rank, processes
        self._stopped = False
        self._starter: int | None = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that stores, reports and tells; the only one, or rank 0."""
        return self.rank == 0

    def listen(self, *, starter: int | None = None, grace: float = GRACE) -> None:
        """Turn SIGTERM and SIGINT into `stop_requested`, and so the death of the process that started this one.

        An orchestrator that was killed can send no signal, and a training that nobody waits for would block the machine.
        One of several ranks may then wait in a collective for a rank that is gone: after `grace` seconds it is ended.
        """
        self._starter = starter
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        if starter is not None and self.processes > 1:
            threading.Thread(target=self._end_after, args=(starter, grace), daemon=True).start()

    @property
    def stop_requested(self) -> bool:
        """Whether to save and end now, as this process knows it; several processes have to agree on it."""
        return self._stopped or (self._starter is not None and os.getppid() != self._starter)

    def stop(self) -> None:
        """Ask the stage to save and end."""
        self._stopped = True

    def beat(self, every: float = HEARTBEAT) -> None:
        """Log a line every so many seconds from now on: a silent log looks like a hang to people and load balancers."""
        threading.Thread(target=self._beat, args=(every, time.monotonic()), daemon=True).start()

    def _beat(self, every: float, since: float) -> None:
        while True:
            time.sleep(every)
            self.say("alive for %.0f min", (time.monotonic() - since) / 60)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stop()
        logger.info("received %s: saving, then stopping", signal.Signals(number).name)

    def _end_after(self, starter: int, grace: float) -> None:
        while os.getppid() == starter:
            time.sleep(0.5)
        time.sleep(grace)
        logger.error("the launcher died %.0f s ago and this rank did not end: ending it", grace)
        os._exit(1)

    def say(self, message: str, *values: object) -> None:
        """One log line, for people who watch the terminal or Dagster's compute log; of several processes rank 0's."""
        logger.info(message, *values)


def started_by() -> int:
    """The process that started this one, as it says itself: after seconds of imports, the parent may be another's by now."""
    return int(os.environ.get(STARTER) or os.getppid())
