"""What was already answered: one append-only file per system, one line per batch of people.

A line is written whole and flushed to the disk before the next batch begins, so that a killed evaluation repeats only the
batch that was in flight. The file's name is a digest of all that decides the replies (model, reading, prompts, questions,
option orders, decoding): whoever asks the same again, in another report or on another day, finds them answered. Parsers,
judges and statistics are no part of it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.records import Outputs
from personamem_pipeline.seeds import digest


@dataclass(frozen=True)
class Journal:
    """The answered batches of one system."""

    path: Path

    @classmethod
    def of(cls, directory: Path, system: str, key: Mapping[str, Any]) -> Journal:
        """The journal for replies that `key` decides. The key is kept beside it, for people."""
        directory.mkdir(parents=True, exist_ok=True)
        name = f"{system}-{digest(dict(key))[:24]}"
        (directory / f"{name}.key.json").write_text(json.dumps(dict(key), indent=1, sort_keys=True, default=str) + "\n")
        return cls(directory / f"{name}.jsonl")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Nobody else appends meanwhile; refuses if somebody does. A torn last line, left by a kill, is cut off."""
        with self.path.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UserError(
                    "another evaluation is answering the same questions with the same system",
                    where=self.path,
                    remedy="wait until it is done: its answers are then found here",
                ) from error
            file.seek(0)
            whole = sum(len(line) for line in file if line.endswith(b"\n"))
            if whole < self.path.stat().st_size:
                os.truncate(self.path, whole)
            yield

    def append(self, index: int, outputs: Outputs) -> None:
        """Keep one answered batch; on the disk when this returns."""
        line = f'{{"batch": {index}, {outputs.model_dump_json()[1:]}\n'
        with self.path.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def answered(self) -> frozenset[int]:
        """The batches that are here whole."""
        return frozenset(index for index, _ in self._lines())

    def outputs(self, index: int) -> Outputs:
        """One answered batch."""
        return next(self._parse(line) for own, line in self._lines() if own == index)

    def __iter__(self) -> Iterator[Outputs]:
        """All answered batches in the order in which they were asked, one in memory at a time."""
        for _, line in self._lines():
            yield self._parse(line)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return  # torn by a kill; `writing` cuts it off
                if not line.startswith(b'{"batch": '):
                    raise self._damaged(number, "it does not name its batch")
                yield int(line[10 : line.index(b",")]), line

    def _parse(self, line: bytes) -> Outputs:
        try:
            return Outputs.model_validate_json(b"{" + line.partition(b",")[2])
        except ValidationError as error:
            raise self._damaged(0, str(error)) from error

    def _damaged(self, number: int, problem: str) -> UserError:
        return UserError(
            f"line {number or 'of a batch'} cannot be read: {problem}",
            where=self.path,
            expected="lines as this version writes them",
            remedy="delete the file: its questions are then asked again",
        )
