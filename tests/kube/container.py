"""One container: its process, its log, and what was decided about its end."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.kube.objects import Json


@dataclass
class Container:
    """One container on its way; `news` guards and announces its log and its end."""

    pod: Json
    node: str
    lines: list[tuple[int, bytes]] = field(default_factory=list)
    """Unix time in ns, strictly increasing, and a line with its newline."""
    news: threading.Condition = field(default_factory=threading.Condition)
    process: subprocess.Popen[bytes] | None = None
    verdict: tuple[str, str] | None = None
    """(reason, message) of a pod that fails whatever its process says: Evicted, DeadlineExceeded."""
    killed_as: str | None = None
    stopping: bool = False
    ended: bool = False
    rotated: int = 0
    """Lines that are no longer to be had: the node has begun a new log file since."""
    lost: bool = False
    """Its node went away: nothing is heard of it any more."""

    def follow(self, *, since: int, tail: int | None, follow: bool) -> Iterator[tuple[int, bytes]]:
        """Log lines from a time (Unix, ns); with `follow` until the container ends, else those there are."""
        with self.news:
            own = [number for number, (stamp, _) in enumerate(self.lines) if number >= self.rotated and stamp >= since]
            place = own[0] if own else len(self.lines)
            place = place if tail is None else max(place, len(self.lines) - tail)
        while True:
            with self.news:
                while follow and place == len(self.lines) and not self.ended:
                    self.news.wait(1.0)
                batch = self.lines[place:]
                over = self.ended or not follow
            yield from batch
            place += len(batch)
            if over and place == len(self.lines):
                return

    def stop(self, grace: float) -> None:
        """SIGTERM now, SIGKILL after `grace` seconds; a shorter grace overtakes a longer one."""
        with self.news:
            first, self.stopping = not self.stopping, True
            process = self.process
        if process is None:
            return
        if grace <= 0:
            return self.kill()
        if first and process.poll() is None:
            process.terminate()
        timer = threading.Timer(grace, self.kill)
        timer.daemon = True
        timer.start()

    def kill(self) -> None:
        """End all its processes, as the end of PID 1 or a power cut does."""
        if self.process is not None and not self.ended:
            end_group(self.process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a process and all it started in its session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
