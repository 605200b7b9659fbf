"""Following a pod's log by asking for it again and again: every line once, whatever breaks in between.

A log that is streamed ends early in many ways: the kubelet closes idle streams, load balancers forget them, a node's hiccup
ends one as cleanly as the container's end would. So each answer here is taken for a *piece* of the log, and is believed to
continue what was seen only if the last line seen is in it; else the whole log is asked for. No clock is compared with
another, and there is nothing to reconnect.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence

from personamem_pipeline.errors import UserError
from resources.pods.api import PodApi

MARGIN = 5
"""Seconds that are asked for beyond those since the last answer: the node's line may be a little older."""
STAMPED = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S* ")
"""The node's time, which the API puts before each line. What has none is not the container's but the kubelet's word."""


class LogTail:
    """What was seen of one log."""

    def __init__(self) -> None:
        self._first: str | None = None
        self._last: str | None = None

    def new(self, piece: Sequence[str], *, from_start: bool) -> list[str] | None:
        """The lines of a piece that were not seen before, without their time; None: it does not continue what was seen.

        Args:
            piece: lines in the order of the log, each with its time.
            from_start: whether the piece was asked for without a limit to the past.
        """
        lines = [line for line in piece if STAMPED.match(line)]
        if not lines:
            return [] if self._last is None or from_start else None
        if self._last is None:
            if not from_start:
                return None
            fresh = lines
        elif self._last in lines:
            # Its last occurrence: a line and its nanosecond are hardly ever there twice.
            fresh = lines[len(lines) - lines[::-1].index(self._last) :]
        elif from_start and lines[0] != self._first:
            fresh = lines  # the node has begun a new file, since the old one was full
        else:
            return [] if from_start else None  # cut off before the part that is new
        if self._first is None or (from_start and lines[0] != self._first):
            self._first = lines[0]
        if fresh:
            self._last = fresh[-1]
        return [STAMPED.sub("", line, count=1) for line in fresh]


class PodLog:
    """Reads one pod's log on, from where it was."""

    def __init__(self, api: PodApi, name: str, take: Callable[[str], None]) -> None:
        """`take` gets each line, once."""
        self._api, self._name, self._take = api, name, take
        self._tail = LogTail()
        self._asked = self._connected = time.monotonic()
        self.refused = False
        """Whether the API server does not let us read it."""

    def follow(self) -> int | None:
        """Take what is new: how many lines; None where the log could not be read.

        Raises:
            UserError: the API server does not let us read it.
        """
        asked = time.monotonic()
        back: int | None = math.ceil(asked - self._connected) + MARGIN
        while True:
            try:
                answer = self._api.log(self._name, back)
            except UserError:
                self.refused = True
                raise
            if answer is None:
                return None
            piece, whole = answer
            fresh = self._tail.new(piece, from_start=back is None)
            if fresh is not None:
                break
            back = None
        if fresh:
            self._connected = self._asked
        self._asked = asked
        for line in fresh:
            self._take(line)
        return len(fresh) if fresh or whole else None
