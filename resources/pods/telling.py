"""What the run's log is told of its pod, and how the cluster explains it: silence looks like a hang.

A pod's events only explain. Where they may not be read, as on clusters that give rights sparingly, less is told, and nothing
fails for it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from logging import INFO, WARNING, Logger

from personamem_pipeline.errors import UserError
from resources.pods.api import PodApi
from resources.pods.manifest import Json
from resources.pods.status import Leaving, Running, Waiting, last_warning

SAID_EVERY = 600.0
SAID_AGAIN = 60.0


class Teller:
    """Tells of one pod."""

    def __init__(self, api: PodApi, name: str, log: Logger) -> None:
        self._api, self._name, self._log = api, name, log
        self._told = ("", "", 0.0)
        self._refused = False

    def events(self) -> Sequence[Json]:
        """What the cluster told about the pod; nothing where it may not be asked."""
        if self._refused:
            return ()
        try:
            return self._api.events(self._name)
        except UserError as error:
            self._refused = True
            self._log.warning(f"what the cluster tells about pod {self._name} is not known\n{error}")
            return ()

    def last_warning(self) -> str:
        """The newest warning about the pod; empty when there is none."""
        return last_warning(self.events())

    def tell(self, found: Waiting | Running | Leaving, passed: float) -> None:
        """Say what the pod does when that changes, and now and then while it waits.

        Args:
            found: its state.
            passed: seconds for which that has been so.
        """
        kind, words, said = self._told
        now = time.monotonic()
        waits = isinstance(found, Waiting)
        what, told, level = described(self._name, found)
        if what == "starting" and passed > SAID_AGAIN and now - said > SAID_AGAIN:
            told = f"{told}; {self.last_warning()}"
        due = waits and now - said > (SAID_AGAIN if told != words else SAID_EVERY)
        if what != kind or due:
            self._told = (what, told, now)
            self._log.log(level, told)


def described(name: str, found: Waiting | Running | Leaving) -> tuple[str, str, int]:
    """Which state it is, in one word; what to tell of it, and at which log level."""
    match found:
        case Running(node):
            return "running", f"pod {name} runs on {node}", INFO
        case Leaving(why):
            return "leaving", f"pod {name} is being ended by the cluster: {why}", WARNING
        case Waiting(kind, why):
            return (
                kind,
                f"pod {name} waits: {why}",
                WARNING if kind in ("quota", "queued", "mismatch", "pulling") else INFO,
            )
