"""Which stored datasets and shards hold a row or a person, and who wrote it there.

Ids are those of a dataset: `t0007` of two experiments may be two people. So what is found is always told by version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.lineage import GRAPH
from personamem_pipeline.passports.chain import Thing, walk
from personamem_pipeline.questions.copying import HISTORIES, QUESTIONS
from personamem_pipeline.store import REJECTED, ROWS, Store

DATA = tuple(name for name, node in GRAPH.items() if node.group in ("data", "datasets"))
"""Assets that hold rows, parents first."""
FILES = (ROWS, HISTORIES, QUESTIONS, REJECTED)


@dataclass(frozen=True)
class Holder:
    """A stored dataset or shard in which a row, or rows of a person, are."""

    asset: str
    version: str
    person: str
    rows: int
    rejected: int
    """Rows that were refused; their texts are kept beside the others."""
    producer: Mapping[str, str]
    """Who wrote it: stage, code version, and where a model wrote: author, prompts, seed."""


@dataclass(frozen=True)
class Held:
    """What was found of a name, and what could not be searched."""

    holders: tuple[Holder, ...]
    broken: tuple[str, ...]
    """One line for each dataset or shard that is not whole, and so was not searched."""


def hold(store: Store, name: str) -> Held:
    """Everything in the store that holds the row or person of that name; every dataset that is read is hashed first."""
    holders: list[Holder] = []
    broken: list[str] = []
    for asset in DATA:
        for version in store.versions(GRAPH[asset].kind):
            try:
                holder = _holder(store, asset, version, name)
            except IntegrityError as error:
                broken.append(f"{asset} {version}: {error.problem}")
            else:
                holders += [holder] if holder else []
    return Held(tuple(holders), tuple(broken))


def behind(store: Store, row: Holder) -> tuple[Holder, ...]:
    """What a row rests on: its person's rows in every shard above the one that holds it, as its manifests name them."""
    found: list[Holder] = []

    def visit(thing: Thing) -> Mapping[str, str]:
        if holder := _holder(store, thing.name, thing.version, row.person):
            found.append(holder)
        return store.manifest(thing.kind, thing.version).parents

    walk(store.manifest(GRAPH[row.asset].kind, row.version).parents, visit)
    return tuple(sorted(found, key=lambda holder: DATA.index(holder.asset)))


def _holder(store: Store, asset: str, version: str, name: str) -> Holder | None:
    directory = store.verified(GRAPH[asset].kind, version)
    counts = {file: list(_matches(directory / file, name)) for file in FILES if (directory / file).is_file()}
    persons = {person for found in counts.values() for person in found}
    if not persons:
        return None
    rejected = len(counts.get(REJECTED, []))
    rows = sum(map(len, counts.values())) - rejected
    producer = store.manifest(GRAPH[asset].kind, version).producer
    return Holder(asset, version, min(persons), rows, rejected, producer)


def _matches(path: Path, name: str) -> Iterator[str]:
    """The person of each row of a file that is the row of that name, or a row of the person of that name."""
    with pq.ParquetFile(path) as file:
        columns = [each for each in ("question_id", "row_id") if each in file.schema_arrow.names]
        table = file.read(columns=["person_id", *columns])
    persons = table["person_id"].to_pylist()
    ids = table[columns[0]].to_pylist() if columns else persons
    yield from (person for person, row in zip(persons, ids, strict=True) if name in (person, row))
