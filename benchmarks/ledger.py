"""The books of the faulty server: what was asked, what became of it, and what was in flight when a client was killed.

No HTTP here. Times are `time.monotonic()`, which all processes of a machine share.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from personamem_pipeline.seeds import digest

IN_FLIGHT, ANSWERED, CUT_OFF = "in flight", "answered", "cut off"


@dataclass
class Ledger:
    """What has been asked and answered since the last reset. A client's own probes are only counted."""

    requests: int = 0
    probes: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    first_request: float | None = None
    answer_times: list[float] = field(default_factory=list)
    cpu_before: float = field(default_factory=time.process_time)
    attempts: Counter[str] = field(default_factory=Counter)
    """Requests so far, by row."""
    bodies: Counter[str] = field(default_factory=Counter)
    """Requests so far, by the digest of their bytes."""
    faults: Counter[str] = field(default_factory=Counter)
    first_faults: int = 0
    """Faults met by the first request for a row."""
    again: Counter[str] = field(default_factory=Counter)
    """Requests after a row's first, by what became of the one before: a fault's name, or one of the three above."""
    state: dict[str, str] = field(default_factory=dict)
    """What became of each row's last request."""
    kill: dict[str, int] | None = None
    killed: dict[str, Any] | None = None

    def arrived(self, row: str, body: bytes) -> int:
        """Enter a request; says which one it is for its row, from 1."""
        self.requests += 1
        self.bodies[digest(body)] += 1
        self.attempts[row] += 1
        if self.attempts[row] > 1:
            self.again[self.state[row]] += 1
        self.state[row] = IN_FLIGHT
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if self.first_request is None:
            self.first_request = time.monotonic()
        if self.kill and len(self.answer_times) >= self.kill["after"]:
            self._kill(self.kill["pid"])
        return self.attempts[row]

    def left(self, row: str, attempt: int, went_wrong: str | None) -> None:
        """Enter what became of a request, just before that is sent."""
        self.in_flight -= 1
        if went_wrong:
            self.faults[went_wrong] += 1
            self.first_faults += attempt == 1
        else:
            self.answer_times.append(time.monotonic())
        if self.state[row] != CUT_OFF:  # nobody is there any more to hear the answer
            self.state[row] = went_wrong or ANSWERED

    def _kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        cut = [row for row, state in self.state.items() if state == IN_FLIGHT]
        self.state.update(dict.fromkeys(cut, CUT_OFF))
        self.kill = None
        answered = sum(state == ANSWERED for state in self.state.values())
        self.killed = {"requests": self.requests, "answered": answered, "unanswered": len(cut)}

    def stats(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "rows": len(self.attempts),
            "distinct": len(self.bodies),
            "repeated": self.requests - len(self.bodies),
            "answered": len(self.answer_times),
            "probes": self.probes,
            "faults": dict(self.faults),
            "first_faults": self.first_faults,
            "again": dict(self.again),
            "most_in_flight": self.most_in_flight,
            "first_request": self.first_request,
            "answer_times": self.answer_times,
            "cpu_seconds": time.process_time() - self.cpu_before,
            "killed": self.killed,
        }
