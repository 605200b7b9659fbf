"""Copying the rows of a decided dataset from its shards into the files that it consists of.

What was refused is kept beside what was admitted, with every reason: nothing that came in is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa

from personamem_pipeline.arrow import from_arrow, write_parquet
from personamem_pipeline.questions.merge import RowWriter, merged
from personamem_pipeline.records import History, Question, Rejection, Split
from personamem_pipeline.seeds import canonical_json
from personamem_pipeline.store import REJECTED

HISTORIES, QUESTIONS = "histories.parquet", "questions.parquet"
HISTORY_GROUP, QUESTION_GROUP = 16, 256
"""Rows in a row group; 16 histories of 128k tokens are 8 MB of text."""


@dataclass(frozen=True)
class ShardFiles:
    """The verified files of both kinds, in the order of the shards' names."""

    histories: tuple[Path, ...]
    questions: tuple[Path, ...]


def copy_rows(
    files: ShardFiles,
    split: Split,
    admitted: set[str],
    trimmed: Mapping[str, str],
    rejections: Sequence[Rejection],
    target: Path,
) -> None:
    """Write the split's rows: histories, admitted questions, and what was rejected, earlier stages' rows first."""
    with RowWriter(target / HISTORIES, History, HISTORY_GROUP) as writer:
        for _, row in merged(files.histories, History, "person_id", split):
            writer.write(row)
    with RowWriter(target / QUESTIONS, Question, QUESTION_GROUP) as writer:
        refused = _sorted_out(files, split, admitted, trimmed, writer)
        write_parquet(target / REJECTED, Rejection, chain(rejections, refused))


def _sorted_out(
    files: ShardFiles, split: Split, admitted: set[str], trimmed: Mapping[str, str], writer: RowWriter
) -> Iterator[Rejection]:
    """Write the admitted questions on the way, and yield the others with their reasons."""
    for name, row in merged(files.questions, Question, "question_id", split):
        if name in admitted:
            writer.write(row)
        else:
            yield _rejection(row, trimmed.get(name))


def _rejection(row: pa.RecordBatch, length: str | None) -> Rejection:
    """A refused question; all reasons of its certificate, one a line, and its text as JSON."""
    question = from_arrow(Question, row.to_pylist()[0])
    reasons = [length] if length else [" ".join(reason.split()) for reason in question.certificate.reasons]
    text = canonical_json(question.model_dump(mode="json", exclude={"certificate": {"reasons"}}))
    return Rejection(row_id=question.question_id, person_id=question.person_id, reason="\n".join(reasons), content=text)
