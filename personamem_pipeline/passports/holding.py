"""Which stored datasets and shards hold a row or a person, and who wrote it there.

Ids are those of a dataset: `t0007` of two experiments may be two people. So what is found is always told by version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.lineage import GRAPH
from personamem_pipeline.passports.chain import Thing, walk
from personamem_pipeline.passports.reading import readable
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
    searched: int
    """How many datasets and shards were."""


def hold(store: Store, name: str) -> Held:
    """Everything in the store that holds the row or person of that name; every dataset that is read is hashed first."""
    return _search(store, [(asset, version, name) for asset in DATA for version in store.versions(GRAPH[asset].kind)])


def behind(store: Store, rows: Iterable[Holder]) -> Held:
    """What rows rest on: their person's rows in every shard above those that hold them, as the manifests name them."""
    wanted: dict[tuple[str, str, str], None] = {}
    for row in rows:

        def visit(thing: Thing, person: str = row.person) -> Mapping[str, str]:
            wanted[thing.name, thing.version, person] = None
            try:
                with readable(store.address(thing.kind, thing.version)):
                    return store.manifest(thing.kind, thing.version).parents
            except IntegrityError:
                return {}  # the search tells of it

        walk(store.manifest(GRAPH[row.asset].kind, row.version).parents, visit)
    return _search(store, sorted(wanted, key=lambda each: DATA.index(each[0])))


def _search(store: Store, wanted: Sequence[tuple[str, str, str]]) -> Held:
    """Look for rows or persons in datasets and shards: asset, version, name."""
    holders: list[Holder] = []
    broken: list[str] = []
    for asset, version, name in wanted:
        try:
            holder = _holder(store, asset, version, name)
        except IntegrityError as error:
            broken.append(f"{asset} {version}: {error.problem}")
        else:
            holders += [holder] if holder else []
    return Held(tuple(holders), tuple(broken), len(wanted) - len(broken))


def _holder(store: Store, asset: str, version: str, name: str) -> Holder | None:
    with readable(store.address(GRAPH[asset].kind, version)):
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
