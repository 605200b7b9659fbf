"""Resumable steps: the directories `checkpoint-<step>` that transformers' `Trainer` leaves in a stage's scratch."""

from __future__ import annotations

import json
import re
from pathlib import Path

STATE = "trainer_state.json"


def last_step(scratch: Path, processes: int = 1) -> str | None:
    """The newest step that is whole; None if there is none. A run that was killed while it saved leaves a part of one.

    The trainer's state is written last, so that a readable one says that weights, optimizer and scheduler are there; each
    rank's random state is a file of its own.
    """
    found = {
        int(match[1]): path
        for path in scratch.glob("checkpoint-*")
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name)) and _whole(path, processes)
    }
    return str(found[max(found)]) if found else None


def _whole(step: Path, processes: int) -> bool:
    try:
        json.loads((step / STATE).read_text())
    except (FileNotFoundError, ValueError):
        return False
    return len(list(step.glob("rng_state*.pth"))) >= processes
