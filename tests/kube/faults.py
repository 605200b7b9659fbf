"""What goes wrong with the API server itself: errors, a server that is away, log streams that break.

What goes wrong with pods and nodes are methods of `cluster.FakeCluster`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

REASONS = {
    401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 429: "TooManyRequests",
    500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout",
}  # fmt: skip


@dataclass
class Failing:
    """The next `times` calls that match are answered with `status`; with `done`, after they were carried out."""

    times: int
    method: str
    pattern: re.Pattern[str]
    status: int
    done: bool


@dataclass(frozen=True)
class LogCut:
    """A log stream ends after so many bytes: broken off, or `cleanly`, as if the container had ended."""

    size: int
    cleanly: bool


@dataclass
class Faults:
    """Faults yet to come. `went_away` and `came_back` are the API server's own doing."""

    went_away: Callable[[], None]
    came_back: Callable[[], None]
    _failing: list[Failing] = field(default_factory=list)
    _cuts: list[LogCut] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _timer: threading.Timer | None = None
    injected: int = 0
    """How many answers were spoilt so far: a test whose fault never happened proves nothing."""

    def fail(self, times: int, method: str, pattern: str, status: int, *, done: bool = False) -> None:
        """Answer the next calls whose path matches with an error; `method` "*" is any.

        `done`: the call is carried out and only the answer is lost, which is how orphans come about.
        """
        with self._lock:
            self._failing.append(Failing(times, method, re.compile(pattern), status, done))

    def away(self, seconds: float | None = None) -> None:
        """Refuse connections and break the open ones, for some seconds or until `back`. Pods go on."""
        self.injected += 1
        self.went_away()
        if seconds is not None:
            self._timer = threading.Timer(seconds, self.came_back)
            self._timer.daemon = True
            self._timer.start()

    def back(self) -> None:
        """End what `away` began."""
        if self._timer:
            self._timer.cancel()
        self.came_back()

    def drop_log_after(self, size: int, *, times: int = 1, cleanly: bool = False) -> None:
        """End the next log streams after `size` bytes each; what a kubelet does to idle or rotated logs with `cleanly`."""
        with self._lock:
            self._cuts += [LogCut(size, cleanly)] * times

    def calm(self) -> None:
        """No more faults from now on."""
        with self._lock:
            self._failing.clear()
            self._cuts.clear()

    def of_call(self, method: str, path: str) -> Failing | None:
        """The fault of this call, counted off."""
        with self._lock:
            for fault in self._failing:
                if fault.method in ("*", method) and fault.pattern.search(path):
                    fault.times -= 1
                    self.injected += 1
                    if fault.times <= 0:
                        self._failing.remove(fault)
                    return fault
        return None

    def of_log(self) -> LogCut | None:
        """Where this log stream ends; None: where its container does."""
        with self._lock:
            return self._cuts.pop(0) if self._cuts else None

    def cut(self) -> None:
        """A log stream was ended early."""
        with self._lock:
            self.injected += 1
