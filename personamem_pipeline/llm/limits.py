"""How many requests may be in flight, and how long to wait: pure rules, and the gate that applies them.

The window follows TCP's additive increase and multiplicative decrease (D.-M. Chiu and R. Jain, "Analysis of the
increase and decrease algorithms for congestion avoidance in computer networks", 1989), slow start included, with one
difference: a lone failure is no sign of overload. Every endpoint drops a few requests in a hundred, and halving on each
would hold 64 allowed requests down to about 6 (at a loss p the mean window is near the square root of 1.5 / p). So the
window is halved when more than a tenth of it has failed, a small window being judged by twenty outcomes, and at most
once for what was in flight together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from personamem_pipeline.seeds import rng

TOLERATED = 0.1
SAMPLE = 20
START = 16
FIRST_WAIT = 0.25
LONGEST_WAIT = 30.0


@dataclass
class Window:
    """How many requests may be in flight, between 1 and `maximum`.

    A request takes `epoch` along when it is sent and brings it back with its outcome.
    """

    maximum: int
    limit: float = 0.0
    epoch: int = 0
    failed: int = 0
    outcomes: int = 0
    """Failures and all outcomes since the count last started anew."""
    slow_start: bool = True

    def __post_init__(self) -> None:
        if self.maximum < 1:
            raise ValueError(f"at least one request must be allowed in flight, not {self.maximum}")
        self.limit = self.limit or float(min(START, self.maximum))

    @property
    def allowed(self) -> int:
        return int(self.limit)

    @property
    def sample(self) -> float:
        """Outcomes among which failures are counted before the count starts anew."""
        return max(SAMPLE, self.limit)

    def answered(self, epoch: int) -> None:
        """A request was answered: one more per window of answers; one more per answer before the first decrease."""
        self.limit = min(float(self.maximum), self.limit + (1.0 if self.slow_start else 1.0 / self.limit))
        self._count(epoch)

    def overloaded(self, epoch: int) -> None:
        """A request met 429, 5xx, a timeout or a dropped connection."""
        if epoch != self.epoch:
            return  # it was in flight when the window was halved
        self.failed += 1
        if self.failed > TOLERATED * self.sample:
            self.limit = max(1.0, self.limit / 2)
            self.slow_start = False
            self.epoch += 1
            self.failed = self.outcomes = 0
        else:
            self._count(epoch)

    def _count(self, epoch: int) -> None:
        if epoch == self.epoch:
            self.outcomes += 1
            if self.outcomes >= self.sample:
                self.failed = self.outcomes = 0


class Gate:
    """Lets requests through as the window allows, and none while the server has asked to wait. For one event loop.

    `clock` is the loop's own: seconds.
    """

    def __init__(self, window: Window, clock: Callable[[], float]) -> None:
        self.window, self._clock = window, clock
        self.in_flight = 0
        self._held_until = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> int:
        """Wait for a place; the epoch to leave with."""
        while True:
            held = self._held_until - self._clock()
            if held > 0:
                await asyncio.sleep(held)
            elif self.in_flight >= self.window.allowed:
                turn = asyncio.get_running_loop().create_future()
                self._waiting.append(turn)
                try:
                    await turn
                except asyncio.CancelledError:
                    self._wake()  # the place goes to the next one
                    raise
            else:
                self.in_flight += 1
                return self.window.epoch

    def leave(self) -> None:
        """Give the place back, after the window was told the outcome."""
        self.in_flight -= 1
        self._wake()

    def hold(self, seconds: float) -> None:
        """Send nothing new for so long."""
        self._held_until = max(self._held_until, self._clock() + seconds)

    def _wake(self) -> None:
        free = self.window.allowed - self.in_flight
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1


def back_off(attempt: int, seed: int, key: str) -> float:
    """Seconds before the `attempt`-th retry (from 1): doubling up to half a minute, less a share of up to a half that
    differs between rows, so that they do not all come back together."""
    full = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (attempt - 1))
    return full * rng(seed, "back-off", key, attempt).uniform(0.5, 1.0)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float:
    """Seconds that a response asks to wait: `Retry-After` as seconds or as an HTTP date (RFC 9110, 10.2.3); 0 when it
    does not ask, or not in a way that can be read."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return 0.0
    try:
        return max(0.0, float(text)) if float(text) < float("inf") else 0.0
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
