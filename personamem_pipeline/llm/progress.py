"""One line on how far a run is, how fast, and what it has cost so far. Pure: the clock is passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from personamem_pipeline.llm.usage import Usage

RECENT_SECONDS = 120.0
"""The rate is that of the last two minutes: the rows that the cache gave at the start say nothing of the rest."""


class Meter:
    """Watches one `Endpoint.map`: ask it for a line at every report that is worth one.

    `clock` gives seconds, e.g. `time.monotonic`.
    """

    def __init__(self, usage: Usage, clock: Callable[[], float]) -> None:
        self._usage, self._clock = usage, clock
        self._seen: deque[tuple[float, int]] = deque([(clock(), 0)])

    def line(self, done: int, total: int) -> str:
        """E.g. `1,200/4,000 rows, 35.2/s, ETA 1m20s, 1,240 calls (3 retried, 400 cached), 310k tokens in, 95k out,
        $1.23`; without dollars where they are unknown."""
        now, usage = self._clock(), self._usage
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] <= now - RECENT_SECONDS:
            self._seen.popleft()
        then, before = self._seen[0]
        rate = (done - before) / (now - then) if now > then else 0.0
        remarks = [
            f"{count:,} {name}"
            for name, count in (("retried", usage.retries), ("cached", usage.cached), ("wasted", usage.wasted))
            if count
        ]
        parts = [
            f"{done:,}/{total:,} rows",
            f"{rate:.1f}/s",
            f"ETA {duration((total - done) / rate) if rate else 'unknown'}",
            f"{usage.calls:,} calls" + (f" ({', '.join(remarks)})" if remarks else ""),
            f"{short(usage.prompt_tokens)} tokens in",
            f"{short(usage.completion_tokens)} out",
        ]
        if usage.refused:
            parts.insert(1, f"{usage.refused:,} refused")
        return ", ".join(parts if usage.dollars is None else [*parts, f"${usage.dollars:,.2f}"])


def duration(seconds: float) -> str:
    """`45s`, `1m20s`, `2h05m`, `3d04h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def short(count: int) -> str:
    """`940`, `12k`, `3.1M`."""
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1000:.0f}k" if count < 1_000_000 else f"{count / 1_000_000:.1f}M"
