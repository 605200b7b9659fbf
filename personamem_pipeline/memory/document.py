"""The memory as a document: lines that a person can read, correct and trace.

The model writes plain bullets; this module turns them into lines with an id, a kind, a status and the turns they rest on,
and keeps what was superseded or forgotten as history. Only current lines are rendered back to the model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from personamem_pipeline.memory.prompts import EMPTY

Kind = Literal["fact", "preference", "boundary"]
Status = Literal["current", "superseded", "forbidden"]
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+(.*\S)\s*$")
_BOUNDARY = re.compile(r"^(never|avoid|do not|don't)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """One item of a memory. `evidence` are the ids of the turns in the chunk at which it was first written."""

    line_id: str
    text: str
    kind: Kind
    status: Status
    evidence: tuple[str, ...]

    @property
    def topic(self) -> str:
        """What comes before the first colon: two lines of one topic supersede each other."""
        head, colon, _ = self.text.partition(":")
        return head.strip().lower() if colon else ""


@dataclass(frozen=True)
class MemoryDocument:
    """All lines ever kept about one person, in the order in which they were first written."""

    lines: tuple[Line, ...] = ()

    @property
    def current(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.status == "current")

    def render(self) -> str:
        """The bullets a model sees; `none` when there is nothing."""
        return "\n".join(f"- {line.text}" for line in self.current) or EMPTY

    def rewritten(self, reply: str, turn_ids: Sequence[str], *, forgets: bool = False) -> MemoryDocument:
        """The document after the model's reply to a chunk whose turns are `turn_ids`.

        A bullet equal to a current line keeps that line's id and evidence; a new bullet becomes a new line resting on
        the chunk; a current line that is no longer written is superseded (`forgets`: forbidden, as the user asked).
        """
        texts = parse_bullets(reply)
        known = {line.text: line for line in self.current}
        gone: Status = "forbidden" if forgets else "superseded"
        old = tuple(
            replace(line, status=gone) if line.status == "current" and line.text not in texts else line
            for line in self.lines
        )
        fresh = tuple(
            Line(f"l{len(self.lines) + index}", text, _kind(text), "current", tuple(turn_ids))
            for index, text in enumerate(text for text in texts if text not in known)
        )
        # Current lines follow the model's own order: rendering gives back what it wrote.
        order = {text: index for index, text in enumerate(texts)}
        past = tuple(line for line in old if line.status != "current")
        now = sorted((line for line in (*old, *fresh) if line.status == "current"), key=lambda line: order[line.text])
        return MemoryDocument(past + tuple(now))


def parse_bullets(reply: str) -> tuple[str, ...]:
    """The bullet texts of a reply, without repeats; lines that are no bullets are not memory."""
    found = (match[1] for match in map(_BULLET.match, reply.splitlines()) if match)
    return tuple(dict.fromkeys(found))


def _kind(text: str) -> Kind:
    if _BOUNDARY.match(text):
        return "boundary"
    return "preference" if ":" in text else "fact"
