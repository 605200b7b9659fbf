"""What a stage says in its pod's log: messages of Dagster Pipes for Dagster, all other lines for people."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from dagster._core.pipes.context import PipesMessageHandler
from dagster_pipes import PipesDefaultMessageWriter, PipesParams

LAST_LINES = 200
"""Kept for a failure, which shows at most `failure.SHOWN` characters of them."""
MESSAGE = '{"__dagster_pipes_version"'


class PodMessages(dg.PipesMessageReader):
    """Takes Pipes messages out of a pod's log lines and passes all other lines on to this process's output."""

    def __init__(self) -> None:
        self.words: deque[str] = deque(maxlen=LAST_LINES)
        """The last lines that were no messages."""
        self._handler: PipesMessageHandler | None = None

    @property
    def closed(self) -> bool:
        """Whether the stage has said that it reports nothing more."""
        return self._handler is not None and self._handler.received_closed_message

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Iterator[PipesParams]:
        self._handler = handler
        yield {PipesDefaultMessageWriter.STDIO_KEY: PipesDefaultMessageWriter.STDERR}

    def no_messages_debug_text(self) -> str:
        return "Looked for messages in the pod's log."

    def take(self, line: str) -> None:
        """One line. A message may stand behind a progress bar that ended without a newline, or before another's words."""
        assert self._handler is not None
        start = line.find(MESSAGE)
        if start >= 0:
            try:
                message, end = json.JSONDecoder().raw_decode(line, start)
            except json.JSONDecodeError:
                pass  # a line with half a message in it is words like any other
            else:
                self._handler.handle_message(message)
                line = line[:start] + line[end:]
                if not line.strip():
                    return
        self.words.append(line)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
