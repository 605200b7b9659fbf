"""Rows of many shards as one stream in the order of their ids, and a stream of rows as one file.

Rows stay Arrow batches from file to file: nothing is decoded, and what is in memory is a few rows of each shard. The
order follows the ids alone, so the same rows give the same bytes however they were dealt into shards.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel

from personamem_pipeline.arrow import arrow_schema
from personamem_pipeline.errors import UserError
from personamem_pipeline.questions.facts import opened
from personamem_pipeline.records import Split

HELD_BYTES = 1 << 18
"""About how much of each shard is decoded at a time: all shards are open at once."""


def merged(
    paths: Iterable[Path], record: type[BaseModel], key: str, split: Split
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """(id, batch of one row) of one split's rows, by person id and then by the ids in the column `key`.

    Raises `UserError` for an id that occurs twice: two shards hold the same row, and neither is the right one.
    """
    last = None
    streams = (_in_order(path, record, key, split) for path in paths)
    for row in heapq.merge(*streams, key=lambda row: row.ids):
        if row.ids == last:
            raise UserError(
                f"the {key} {row.ids[1]} occurs twice",
                where=f"{record.__name__} shards of the split {split}",
                expected="every row in one shard",
                remedy="materialize the shards again from the same persona seeds",
            )
        last = row.ids
        yield row.ids[1], row.batch


class _Row(NamedTuple):
    ids: tuple[str, str]
    """The person's and the row's own."""
    batch: pa.RecordBatch


def _in_order(path: Path, record: type[BaseModel], key: str, split: Split) -> Iterator[_Row]:
    """One shard's rows; a person's at a time where persons are in order already (ours are), else sorted in memory."""
    with opened(path, record) as file:
        places = file.read(columns=["person_id", "split"])
        persons = places.filter(pc.equal(places["split"], split))["person_id"].to_pylist()
        if persons == sorted(persons):
            batches: Iterable[pa.RecordBatch] = file.iter_batches(_rows_at_a_time(file))
        else:
            batches = file.read().sort_by("person_id").to_batches(max_chunksize=_rows_at_a_time(file))
        for _, own in groupby(_rows(batches, key, split), key=lambda row: row.ids[0]):
            yield from sorted(own, key=lambda row: row.ids)


def _rows(batches: Iterable[pa.RecordBatch], key: str, split: Split) -> Iterator[_Row]:
    for batch in batches:
        own = batch.filter(pc.equal(batch["split"], split))
        ids = zip(own["person_id"].to_pylist(), own[key].to_pylist(), strict=True)
        yield from (_Row(pair, own.slice(index, 1)) for index, pair in enumerate(ids))


def _rows_at_a_time(file: pq.ParquetFile) -> int:
    size = sum(file.metadata.row_group(index).total_byte_size for index in range(file.num_row_groups))
    return max(1, HELD_BYTES * int(file.metadata.num_rows) // max(1, int(size)))


class RowWriter:
    """Writes one-row batches to a Parquet file, `group` rows a row group; the file is closed when the block ends."""

    def __init__(self, path: Path, record: type[BaseModel], group: int) -> None:
        self._schema = arrow_schema(record)
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._group = group
        self._waiting: list[pa.RecordBatch] = []
        self.rows = 0

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()
        self._writer.close()

    def write(self, row: pa.RecordBatch) -> None:
        """Append a batch of one row."""
        self._waiting.append(row)
        self.rows += row.num_rows
        if len(self._waiting) == self._group:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(_together(self._waiting, self._schema))
            self._waiting.clear()


def _together(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """One table with one chunk a column, so that the bytes do not tell which shards the rows came from."""
    return pa.Table.from_batches(batches, schema=schema).combine_chunks()
