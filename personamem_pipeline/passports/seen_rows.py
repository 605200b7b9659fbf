"""Rows held against rows: what a checkpoint's steps saw against its dataset, and a dataset against its shards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.passports.examine import DATASET, Look, Looks, above
from personamem_pipeline.passports.links import Link, broken
from personamem_pipeline.passports.records import ROWS, Passport, RowsUsed
from personamem_pipeline.passports.used import read_rows, summary
from personamem_pipeline.questions.copying import HISTORIES, QUESTIONS
from personamem_pipeline.seeds import canonical_json
from personamem_pipeline.store import ROWS as SHARD_ROWS

HISTORIES_OF, QUESTIONS_OF = "histories", "questions"


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
    """The rows of a gathered dataset against the shards that it names: each must be in one of them."""
    label, what = look.thing.label, "rows are its shards'"
    shards = [looks[key] for key in above(look.thing, looks) if key[0] in (HISTORIES_OF, QUESTIONS_OF)]
    if not look.whole(QUESTIONS, HISTORIES) or not all(shard.whole(SHARD_ROWS) for shard in shards):
        return Link(label, what, "gap", "not all of them are whole", "see the broken links")
    written = {QUESTIONS_OF: set[str](), HISTORIES_OF: set[str]()}
    for shard in shards:
        id_of = "question_id" if shard.thing.name == QUESTIONS_OF else "person_id"
        written[shard.thing.name] |= _column(shard.directory / SHARD_ROWS, id_of)
    strange = _column(look.directory / QUESTIONS, "question_id") - written[QUESTIONS_OF]
    strange |= _column(look.directory / HISTORIES, "person_id") - written[HISTORIES_OF]
    if strange:
        problems = [f"{row} is in no shard" for row in sorted(strange)]
        return broken(label, what, problems, "the dataset holds rows that nobody of its chain wrote")
    return Link(label, what, "ok", f"rows of {len(shards)} shards")


def _column(path: Path, name: str) -> set[str]:
    return set(pq.read_table(path, columns=[name])[name].to_pylist())


def dataset_rows(dataset: Path) -> dict[str, str]:
    """Question or person id -> person id, of everything in a gathered dataset that a step can see."""
    asked = pq.read_table(dataset / QUESTIONS, columns=["question_id", "person_id"]).to_pydict()
    read = pq.read_table(dataset / HISTORIES, columns=["person_id"])["person_id"].to_pylist()
    return {person: person for person in read} | dict(zip(asked["question_id"], asked["person_id"], strict=True))
