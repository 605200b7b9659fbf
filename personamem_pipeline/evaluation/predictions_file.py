r"""Scoring what any other system said: a file of hypotheses, read with suspicion.

    {"question_id": "b0000.p0.q0", "hypothesis": "\\boxed{c}"}
    {"question_id": "b0000.p0.q0", "hypothesis": "The tea fits. \\boxed{a}", "order": 1}
    {"question_id": "b0000.p0.q0", "hypothesis": "I would take the tea.", "open": true}

One JSON object a line. `order` counts from 0, which it also is when left out; `open` marks the answer to the question asked
without options. Other keys are not read. Everything that is wrong with a file is told at once, counted by kind and with
line numbers: who runs a product over 5,000 questions for a day should not learn of one fault at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.records import Reply
from personamem_pipeline.questions.options import ORDERS

CONTRACT = '{"question_id": "...", "hypothesis": "..."} a line, with "order": 1 for another order or "open": true'
SHOWN = 3
"""Examples of each fault that an error names."""
LONGEST_LINE = 4 << 20
"""Bytes. A longer line is a file without line ends, or a model that looped."""
Slot = tuple[str, int | None]
"""What is answered: a question in an order; None: without options."""


@dataclass(frozen=True)
class Prediction:
    """One row of the file."""

    question_id: str
    order: int | None
    """None: asked without options."""
    hypothesis: str
    line: int

    @property
    def slot(self) -> Slot:
        return self.question_id, self.order

    @property
    def reply(self) -> Reply:
        """As a system of our own would have left it; what it cost in tokens is not known."""
        return Reply(question_id=self.question_id, order=self.order, output=self.hypothesis)


@dataclass
class Faults:
    """What is wrong with a file, by kind, in the order of their first occurrence."""

    path: Path
    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, example: str) -> None:
        self.found.setdefault(kind, []).append(example)

    def refuse(self, remedy: str) -> None:
        """Raises `UserError` that names them all, if there are any."""
        if self.found:
            told = (f"{len(examples)} {kind} ({_some(examples)})" for kind, examples in self.found.items())
            raise UserError("; ".join(told), where=self.path, expected=CONTRACT, remedy=remedy)


def read_predictions(path: Path) -> list[Prediction]:
    """The rows of a file. Raises `UserError` for a file that cannot be read, is empty, or has any line that is no row."""
    faults = Faults(path)
    rows: list[Prediction] = []
    first: dict[Slot, int] = {}
    for number, line in _lines(path):
        made = _row(line)
        if isinstance(made, tuple):
            faults.add(made[0], f"line {number}{made[1]}")
            continue
        row = Prediction(made["question_id"], made["order"], made["hypothesis"], number)
        if row.slot in first:
            faults.add("answered twice", f"lines {first[row.slot]} and {number}: {slot_name(row.slot)}")
        else:
            first[row.slot] = number
            rows.append(row)
    faults.refuse("correct or delete these lines")
    if not rows:
        raise UserError("the file is empty", where=path, expected=CONTRACT, remedy="write one line per question")
    return rows


def write_predictions(path: Path, replies: Iterable[Reply]) -> int:
    """Write replies about whole histories in the file contract; how many. What was never asked has no line."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for reply in replies:
            if reply.moment != "end" or reply.problem:
                continue
            row: dict[str, Any] = {"question_id": reply.question_id, "hypothesis": reply.output}
            row |= {"open": True} if reply.order is None else {"order": reply.order}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), start=1):
                if len(line) > LONGEST_LINE:
                    raise UserError(
                        f"a line of more than {LONGEST_LINE >> 20} MiB", where=f"{path}:{number}", expected=CONTRACT
                    )
                bare = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
                if bare:
                    yield number, bare
    except OSError as error:
        raise UserError(
            f"cannot be read: {error.strerror}", where=path, expected="a file of predictions", remedy="correct the path"
        ) from error


def _row(line: bytes) -> dict[str, Any] | tuple[str, str]:
    """The fields of a line; or what kind of fault it has, and where in the line."""
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError:
        return "not UTF-8", ""
    except json.JSONDecodeError as error:
        return "not JSON", f": {error.msg} at column {error.colno}"
    except (ValueError, RecursionError) as error:  # a number of a million digits, a thousand brackets
        return "not JSON", f": {type(error).__name__}"
    if not isinstance(value, dict):
        return "not an object", ""
    for name in ("question_id", "hypothesis"):
        if name not in value:
            return f"without `{name}`", ""
        if not isinstance(value[name], str):
            return f"with a `{name}` that is no text", f": {short(value[name])}"
        if not _unicode(value[name]):
            return f"with half a character in `{name}`", ""
    opened, order = value.get("open", False), value.get("order")
    if not isinstance(opened, bool):
        return "with an `open` that is not true or false", f": {short(opened)}"
    if opened and order is not None:
        return "open and with an `order`: without options there is none", ""
    if order is not None and (isinstance(order, bool) or not isinstance(order, int)):
        return "with an `order` that is no whole number", f": {short(order)}"
    if order is not None and not 0 <= order < ORDERS:
        return f"order out of range, 0 to {ORDERS - 1}", f": {short(order)}"
    number = None if opened else order or 0
    return {"question_id": value["question_id"], "hypothesis": value["hypothesis"], "order": number}


def _unicode(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def slot_name(slot: Slot) -> str:
    """A slot as errors name it."""
    name, order = slot
    return f"{short(name)} {'open' if order is None else f'order {order}'}"


def short(value: object) -> str:
    """Anything on one line of a terminal, whatever it holds."""
    text = ascii(value) if not isinstance(value, int) or abs(value) < 10**12 else "a huge number"
    return text if len(text) <= 60 else text[:57] + "..."


def _some(examples: Sequence[str]) -> str:
    more = f", and {len(examples) - SHOWN} more" if len(examples) > SHOWN else ""
    return ", ".join(examples[:SHOWN]) + more
