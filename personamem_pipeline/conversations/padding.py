"""Padding: dialogues that have nothing to do with a person, to fill a history up to a length.

PersonaMem-v2 makes its 128k histories so, from question-answer pairs on maths, code and facts. A pool is anything that
numbers its dialogues: the built-in generator, or a file. Dialogues are counted once, however many histories use them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from personamem_pipeline.conversations.counting import Measure, Size, total
from personamem_pipeline.conversations.worked import worked_example
from personamem_pipeline.errors import UserError
from personamem_pipeline.records import Split
from personamem_pipeline.seeds import rng, stable_int
from personamem_pipeline.settings import PROJECT

Turn = tuple[Literal["user", "assistant"], str]
BUILTIN_ROUND = 4096
"""Built-in dialogues that are shared between histories: about a million tokens, kept in memory once made."""
BLOCK = 64
MISSES = 64
"""So many dialogues in a row that do not fit any more mean that a history is full."""


@dataclass(frozen=True)
class Pool:
    """Numbered dialogues: `make(index, split)`. After `size` of them come others if `endless`, else the same again."""

    author: str
    size: int
    endless: bool
    make: Callable[[int, Split], tuple[Turn, ...]]


@dataclass(frozen=True)
class Dialogue:
    """One dialogue and how long it is."""

    turns: tuple[Turn, ...]
    size: Size


class Padding:
    """A pool whose dialogues are counted, in blocks and once."""

    def __init__(self, pool: Pool, measure: Measure) -> None:
        self.author = pool.author
        self._pool, self._measure = pool, measure
        self._kept: dict[tuple[Split, int], list[Dialogue]] = {}

    def fill(self, person_id: str, split: Split, tokens: int) -> list[Dialogue]:
        """Dialogues of at most `tokens` tokens together, as near to it as the last ones allow; none twice while the
        pool lasts. Which ones depends on the person only."""
        chosen: list[Dialogue] = []
        misses = 0
        for dialogue in self._run(person_id, split):
            if 0 < dialogue.size.tokens <= tokens:
                chosen.append(dialogue)
                tokens -= dialogue.size.tokens
                misses = 0
            elif (misses := misses + 1) == MISSES:
                return chosen
        raise AssertionError("a run of dialogues never ends")

    def _run(self, person_id: str, split: Split) -> Iterator[Dialogue]:
        size = self._pool.size
        start = stable_int("padding", person_id) % size
        for place in count():
            again, offset = divmod(place, size)
            index = (start + offset) % size + (again * size if self._pool.endless else 0)
            yield self._block(split, index // BLOCK)[index % BLOCK]

    def _block(self, split: Split, number: int) -> list[Dialogue]:
        if (split, number) in self._kept:
            return self._kept[split, number]
        first = number * BLOCK
        last = first + BLOCK if self._pool.endless else min(first + BLOCK, self._pool.size)
        made = [self._pool.make(index, split) for index in range(first, last)]
        sizes = iter(self._measure([content for turns in made for _, content in turns]))
        block = [Dialogue(turns, total(next(sizes) for _ in turns)) for turns in made]
        if first < self._pool.size:  # what comes after the first round is asked for by giants only
            self._kept[split, number] = block
        return block


def load_pool(padding: str) -> Pool:
    """The pool that `data.histories.padding` names: `builtin`, or a file of dialogues.

    A `.json` file is one list (the form of PersonaMem-v2's `combined_irrelevant_data.json`), any other has one dialogue
    a line; a dialogue is {"messages": [{"role", "content"}, ...]}, further keys are ignored. Equal dialogues count as
    one. UserError naming file and line (or item).
    """
    if padding == "builtin":
        return Pool("padding/builtin", BUILTIN_ROUND, True, _builtin)
    path = PROJECT / padding
    dialogues = list(dict.fromkeys(_read(path)))
    if not dialogues:
        raise UserError("it holds no dialogue", where=path, expected=_EXPECTED, remedy=_REMEDY)
    rng(0, "padding pool").shuffle(dialogues)  # a file is often sorted by where its dialogues come from
    return Pool(f"padding/{path.name}", len(dialogues), False, lambda index, _: dialogues[index])


def _builtin(index: int, split: Split) -> tuple[Turn, ...]:
    question, answer = worked_example(index, split)
    return (("user", question), ("assistant", answer))


class _PoolMessage(BaseModel):
    role: Literal["user", "assistant"]
    content: str = Field(pattern=r"\S")


class _PoolDialogue(BaseModel):
    messages: list[_PoolMessage] = Field(min_length=2)

    @model_validator(mode="after")
    def _alternates(self) -> _PoolDialogue:
        roles = [message.role for message in self.messages]
        if roles != ["user", "assistant"] * (len(roles) // 2):
            raise ValueError("user and assistant must alternate, from the user to the assistant")
        return self


_EXPECTED = 'dialogues {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}, ...]}'
_REMEDY = "correct the file, or set data.histories.padding to `builtin`"


def _read(path: Path) -> Iterator[tuple[Turn, ...]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"it cannot be read: {error.strerror}", where=path, expected=_EXPECTED, remedy=_REMEDY
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"it is not UTF-8 text: {error}", where=path, expected=_EXPECTED, remedy=_REMEDY) from error
    if path.suffix == ".json":
        items = _parse(text, str(path))
        if not isinstance(items, list):
            raise UserError("it is not a list", where=path, expected=f"a list of {_EXPECTED}", remedy=_REMEDY)
        numbered: Sequence[tuple[str, Any]] = [(f"{path}: item {n}", item) for n, item in enumerate(items, start=1)]
    else:
        lines = ((f"{path}:{n}", line) for n, line in enumerate(text.split("\n"), start=1) if line.strip())
        numbered = [(where, _parse(line, where)) for where, line in lines]
    for where, item in numbered:
        yield _turns(item, where)


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"not JSON: {error}", where=where, expected=_EXPECTED, remedy=_REMEDY) from error


def _turns(item: Any, where: str) -> tuple[Turn, ...]:
    try:
        dialogue = _PoolDialogue.model_validate(item)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        problem = f"{place}: {first['msg']}" if place else first["msg"]
        raise UserError(problem, where=where, expected=_EXPECTED, remedy=_REMEDY) from error
    return tuple((message.role, message.content) for message in dialogue.messages)
