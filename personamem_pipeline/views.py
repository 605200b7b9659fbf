"""How `personamem read` shows what it does: for people, and as one JSON object a line for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from rich.console import Console
from rich.text import Text

from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.memory.prompts import parse_choice
from personamem_pipeline.memory.reading import ReadTurn

KEPT = {
    "unfinished": "the reply did not end within its {written} tokens, so the previous memory stands",
    "empty": "the reply was empty, so the previous memory stands",
}
SHOWN = 160
"""Characters of an unused reply that are shown."""


@dataclass
class Totals:
    """What a reading cost."""

    chunks: int = 0
    unread_chunks: int = 0
    chat_tokens: int = 0
    read_tokens: int = 0
    written_tokens: int = 0
    memory_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Answered:
    """A question and what the model made of it from the memory alone."""

    query: str
    options: Mapping[str, str]
    generation: Generation

    @property
    def choice(self) -> str | None:
        return parse_choice(self.generation.text, self.options) if self.options else None


class View(Protocol):
    """Where a reading is told to."""

    def start(self, facts: Mapping[str, Any]) -> None: ...
    def turn(self, turn: ReadTurn, of: int, seconds: float) -> None: ...
    def note(self, text: str) -> None: ...
    def answer(self, answered: Answered) -> None: ...
    def totals(self, totals: Totals) -> None: ...


class Page:
    """Plain text for people: `+` new line, `-` dropped line, `~` text outside of bullets."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def _say(self, text: str, style: str = "") -> None:
        self.console.print(Text(text, style=style), soft_wrap=True)

    def start(self, facts: Mapping[str, Any]) -> None:
        for name, value in facts.items():
            self._say(f"{name + ':':<9} {value}")

    def turn(self, turn: ReadTurn, of: int, seconds: float) -> None:
        chunk, index = turn.turn.chunk, turn.turn.index + 1
        self._say(
            f"\nChunk {index} of {of}: {chunk[0].turn_id} to {chunk[-1].turn_id}, {turn.chat_tokens} tokens of chat; "
            f"{turn.written_tokens} tokens written in {seconds:.1f} s",
            "bold",
        )
        if turn.turn.kept:
            self._say("  " + KEPT[turn.turn.kept].format(written=turn.written_tokens), "yellow")
            reply = " ".join(turn.turn.generation.text.split())
            if reply:
                self._say(f"  ~ unused: {reply[:SHOWN]}{'...' if len(reply) > SHOWN else ''}", "dim")
        for line in turn.document.current:
            new = line.line_id in turn.new
            self._say(f"  {'+' if new else ' '} {line.line_id:<4} {line.kind:<10} {line.text}", "green" if new else "")
        for line in turn.dropped:
            self._say(f"  - {line.line_id:<4} {line.kind:<10} {line.text}", "red")
        for text in turn.free_text:
            self._say(f"  ~ {text}", "dim")
        if not turn.document.current and not turn.free_text:
            self._say("    the memory is empty")

    def note(self, text: str) -> None:
        self._say(f"note: {text}", "yellow")

    def answer(self, answered: Answered) -> None:
        self._say(f"\nQuestion: {answered.query}", "bold")
        for letter, option in answered.options.items():
            self._say(f"  ({letter}) {option}")
        self._say(f"Answer:   {answered.generation.text.strip() or '(empty)'}")
        if not answered.generation.finished:
            self._say(f"  cut off after {len(answered.generation.token_ids)} tokens", "yellow")
        if answered.options and answered.choice is None:
            self._say("  no option chosen: the reply gives no letter as \\boxed{a} and no option's own words", "yellow")
        elif answered.choice:
            self._say(f"Chosen:   ({answered.choice}) {answered.options[answered.choice]}")

    def totals(self, totals: Totals) -> None:
        self._say(
            f"\nRead {totals.chat_tokens} tokens of chat in {totals.chunks} chunks ({totals.read_tokens} with "
            f"instructions and memories), wrote {totals.written_tokens}, in {totals.seconds:.1f} s; "
            f"the memory has {totals.memory_tokens} tokens."
        )
        if totals.unread_chunks:
            self.note(f"chunks not read because of --max-chunks: {totals.unread_chunks}")


class JsonLines:
    """One JSON object a line, as things happen; `event` says what it is."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def _say(self, event: str, **values: Any) -> None:
        print(json.dumps({"event": event, **values}, ensure_ascii=False), file=self.console.file, flush=True)

    def start(self, facts: Mapping[str, Any]) -> None:
        self._say("start", **facts)

    def turn(self, turn: ReadTurn, of: int, seconds: float) -> None:
        self._say(
            "turn",
            index=turn.turn.index,
            of=of,
            turn_ids=[message.turn_id for message in turn.turn.chunk],
            memory=turn.turn.memory,
            kept=turn.turn.kept,
            lines=[asdict(line) for line in turn.document.lines],
            new=sorted(turn.new),
            dropped=[line.line_id for line in turn.dropped],
            chat_tokens=turn.chat_tokens,
            read_tokens=turn.read_tokens,
            written_tokens=turn.written_tokens,
            reply=turn.turn.generation.text,
        )

    def note(self, text: str) -> None:
        self._say("note", text=text)

    def answer(self, answered: Answered) -> None:
        self._say(
            "answer",
            query=answered.query,
            options=dict(answered.options),
            reply=answered.generation.text,
            choice=answered.choice,
            finished=answered.generation.finished,
        )

    def totals(self, totals: Totals) -> None:
        self._say("totals", **asdict(totals))
