"""Records to Arrow and Parquet, and back.

The Arrow schema is derived from the record's type rather than from the rows, so that a shard whose optional column is
empty has the same schema as its neighbours. Free-form dicts are stored as JSON text.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

RecordT = TypeVar("RecordT", bound=BaseModel)
ItemT = TypeVar("ItemT")
BATCH = 256
"""Rows that are records at a time when a file is written."""
GROUP_BYTES = 1 << 20
"""Bytes of a row group, which is what a reader decodes at once: long histories come in groups of a few."""
_SCALARS = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def arrow_schema(record: type[BaseModel]) -> pa.Schema:
    """The Arrow schema of a record type."""
    return pa.schema(_fields(record))


def to_arrow(row: BaseModel) -> dict[str, Any]:
    """A record as the plain dict that `pa.Table.from_pylist` takes under `arrow_schema`."""
    return {name: _plain(getattr(row, name)) for name in type(row).model_fields}


def from_arrow(record: type[RecordT], row: dict[str, Any]) -> RecordT:
    """The record of one row of `Table.to_pylist()`; validates every field."""
    restore = _restorer(record)
    return record.model_validate(restore(row) if restore else row)


def write_parquet(path: Path, record: type[RecordT], rows: Iterable[RecordT]) -> None:
    """Write rows of one record type, in row groups of at most `BATCH` rows and about `GROUP_BYTES`."""
    schema = arrow_schema(record)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in batched(rows, BATCH):
            table = pa.Table.from_pylist([to_arrow(row) for row in group], schema=schema)
            writer.write_table(table, row_group_size=max(1, GROUP_BYTES * table.num_rows // max(1, table.nbytes)))


def stream_parquet(path: Path, record: type[RecordT]) -> Iterator[RecordT]:
    """The rows of a Parquet file, a row group of them in memory at a time."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield from (from_arrow(record, row) for row in file.read_row_group(group).to_pylist())


def column(path: Path, name: str) -> list[Any]:
    """One column of a Parquet file; nothing else of it is read."""
    return list(pq.read_table(path, columns=[name])[name].to_pylist())


def batched(items: Iterable[ItemT], size: int) -> Iterator[list[ItemT]]:
    """Lists of up to `size` items (itertools.batched is Python 3.12's)."""
    waiting = iter(items)
    while group := list(islice(waiting, size)):
        yield group


def _fields(record: type[BaseModel]) -> list[pa.Field]:
    return [pa.field(name, _type(info.annotation)) for name, info in record.model_fields.items()]


def _type(annotation: Any) -> pa.DataType:
    annotation = _without_none(annotation)
    origin = get_origin(annotation)
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if origin is Literal:
        return pa.string()
    if origin is dict:
        return pa.string()
    if origin in (tuple, list):
        return pa.list_(_type(get_args(annotation)[0]))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return pa.struct(_fields(annotation))
    raise TypeError(f"no Arrow type for {annotation!r}")


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [arg for arg in get_args(annotation) if arg is not type(None)]
        if len(rest) == 1:
            return rest[0]
    return annotation


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return to_arrow(value)
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


@cache
def _restorer(annotation: Any) -> Callable[[Any], Any] | None:
    """How a value of that type is turned back from Arrow's; None: it is already. Types are walked once, not per row."""
    annotation = _without_none(annotation)
    origin = get_origin(annotation)
    if origin is dict:
        return json.loads
    if origin in (tuple, list):
        inner = _restorer(get_args(annotation)[0])
        return partial(_restore_items, inner) if inner else None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        types_of: dict[str, Any] = {name: info.annotation for name, info in annotation.model_fields.items()}
        found = {name: _restorer(own) for name, own in types_of.items()}
        return partial(_restore_fields, {name: own for name, own in found.items() if own})
    return None


def _restore_items(inner: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    return [None if item is None else inner(item) for item in items]


def _restore_fields(fields: Mapping[str, Callable[[Any], Any]], row: Mapping[str, Any]) -> dict[str, Any]:
    changed = {name: restore(row[name]) for name, restore in fields.items() if row.get(name) is not None}
    return {**row, **changed}
