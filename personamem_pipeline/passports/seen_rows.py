"""Rows held against rows: what steps saw against the dataset, the dataset against its shards and against benchmarks.

A dataset is gathered by copying rows, so each of its rows must be in a shard as it is, to the last character: a dataset
with other texts under the same ids names the same parents, and nothing but the rows tells the two apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from personamem_pipeline.arrow import column
from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.passports.chain import SHORT
from personamem_pipeline.passports.examine import DATASET, Look, Looks, above
from personamem_pipeline.passports.links import Link, broken
from personamem_pipeline.passports.reading import readable
from personamem_pipeline.passports.records import ROWS, Passport, RowsUsed
from personamem_pipeline.passports.used import read_rows, summary
from personamem_pipeline.questions.copying import HISTORIES, QUESTIONS
from personamem_pipeline.seeds import canonical_json, digest
from personamem_pipeline.store import ROWS as SHARD_ROWS
from personamem_pipeline.store import Store

COPIED = {"questions": (QUESTIONS, "question_id"), "histories": (HISTORIES, "person_id")}
"""Stage whose rows are copied -> (file of the dataset, column of the id)."""
BATCH = 16
"""Rows in memory at a time: a history has up to 128k tokens."""


def rows_link(look: Look, passport: Passport, looks: Looks) -> Link:
    """`rows.json` against the training dataset, the passport's counts and the preset's steps."""
    label, what = look.thing.label, "rows are the dataset's"
    means = "which rows a step saw is told wrongly, so a person who withdraws may be overlooked"
    if not look.whole(ROWS):
        return Link(label, what, "gap", f"no whole {ROWS}", "which rows its steps saw cannot be told")
    try:
        used = read_rows(look.directory)
    except IntegrityError as error:
        return Link(label, what, "BROKEN", error.problem, means)
    dataset = looks.get((DATASET, passport.inputs.get(DATASET, "")))
    if dataset is None or not dataset.whole(QUESTIONS, HISTORIES):
        return Link(label, what, "gap", "the training dataset is not whole", "see the broken link")
    problems = [*_row_problems(used, passport), *_strangers(used, dataset.directory)]
    if problems:
        return broken(label, what, problems, means)
    return Link(label, what, "ok", f"{len(used.ids)} rows in {len(used.steps)} steps")


def _row_problems(used: RowsUsed, passport: Passport) -> Iterator[str]:
    if list(used.ids) != sorted(set(used.ids)):
        yield "the ids are not sorted, or one stands twice"
    for number, step in enumerate(used.steps, 1):
        if list(step) != sorted(set(step)):
            yield f"the rows of step {number} are not in order, or one stands twice"
    if unseen := set(range(len(used.ids))) - {row for step in used.steps for row in step}:
        yield f"{used.ids[min(unseen)]} is listed and no step saw it"
    stated = passport.rows if isinstance(passport.rows, dict) else {}
    if stated != summary(used):
        yield f"{canonical_json(summary(used))}, the passport states {canonical_json(stated)}"
    planned = passport.preset.get("section", {}).get("steps")
    if planned is not None and planned != len(used.steps):
        yield f"{len(used.steps)} steps, the preset asks for {planned}"


def _strangers(used: RowsUsed, dataset: Path) -> Iterator[str]:
    known = dataset_rows(dataset)
    yield from (f"{row} is not in the training dataset" for row in used.ids if row not in known)


def dataset_link(look: Look, looks: Looks) -> Link:
    """The rows of a gathered dataset against the shards that it names: each must be in one of them, unchanged."""
    label, what = look.thing.label, "rows are its shards'"
    shards = [looks[key] for key in above(look.thing, looks) if key[0] in COPIED]
    if not look.whole(QUESTIONS, HISTORIES) or not all(shard.whole(SHARD_ROWS) for shard in shards):
        return Link(label, what, "gap", "not all of them are whole", "see the broken links")
    problems: list[str] = []
    for stage, (file, id_of) in COPIED.items():
        paths = [shard.directory / SHARD_ROWS for shard in shards if shard.thing.name == stage]
        written = {row for path in paths for row in _rows(path, id_of)}
        ids = {name for name, _ in written}
        problems += [
            f"{name} is {'not as its shard has it' if name in ids else 'in no shard'}"
            for name, content in _rows(look.directory / file, id_of)
            if (name, content) not in written
        ]
    if problems:
        return broken(label, what, problems, "the dataset holds rows that nobody of its chain wrote")
    return Link(label, what, "ok", f"rows of {len(shards)} shards")


def _rows(path: Path, id_of: str) -> Iterator[tuple[str, str]]:
    """(id, digest of everything in it) of each row of a file."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH):
            # Not as JSON, which has no word for every number that a forged file may hold.
            yield from ((row[id_of], digest(repr(row).encode())) for row in batch.to_pylist())


def dataset_rows(dataset: Path) -> dict[str, str]:
    """Question or person id -> person id, of everything in a gathered dataset that a step can see."""
    asked = zip(*(column(dataset / QUESTIONS, name) for name in ("question_id", "person_id")), strict=True)
    read = column(dataset / HISTORIES, "person_id")
    return {person: person for person in read} | dict(asked)


def benchmark_links(store: Store, looks: Looks) -> Iterator[Link]:
    """A note for each benchmark in the store: whether somebody who is asked about there was trained on."""
    for look in looks.values():
        if look.thing.name != DATASET or not look.whole(HISTORIES):
            continue
        trained_on = set(_persons(look.directory))
        for benchmark in store.versions("benchmark"):
            what = f"shares nobody with benchmark {benchmark[:SHORT]}"
            try:
                with readable(store.address("benchmark", benchmark)):
                    shared = sorted(trained_on.intersection(_persons(store.verified("benchmark", benchmark))))
            except IntegrityError as error:
                yield Link(look.thing.label, what, "note", f"that benchmark is broken: {error.problem}")
                continue
            if shared:
                found = f"{len(shared)} people are in both, the first is {shared[0]}"
                means = f"results on benchmark {benchmark[:SHORT]} are no evidence of what it does for new people"
                yield Link(look.thing.label, what, "note", found, means)
            else:
                yield Link(look.thing.label, what, "ok", f"{len(trained_on)} people trained on")


def _persons(dataset: Path) -> list[str]:
    return column(dataset / HISTORIES, "person_id")
