"""A released table and the histories beside it as a benchmark to ask, without the asset graph.

What cannot be asked (a row that cannot be read, a person whose history is missing) is not dropped in silence: it comes
back as rejections, and whoever evaluates says how many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.source import Source, profile_text
from personamem_pipeline.presets import ReleasedConfig
from personamem_pipeline.questions.released_people import open_files, person_id
from personamem_pipeline.questions.released_records import (
    released_histories,
    released_personas,
    released_questions,
    released_strays,
)
from personamem_pipeline.records import History, Rejection


@dataclass(frozen=True)
class Released:
    """What of a table can be asked, and what cannot."""

    source: Source
    rejected: tuple[Rejection, ...]


def released_source(
    table: Path,
    root: Path,
    *,
    size: Literal["32k", "128k"] = "32k",
    orders: int,
    seed: int,
    people_per_batch: int,
) -> Released:
    """The rows of `table` with the histories that they link to below `root`; a history is read when it is asked for.

    Raises:
        UserError: the table is no released one, or none of its rows can be asked; the first reasons are told.
    """
    config = ReleasedConfig(root=str(root.absolute()), benchmark=str(table.absolute()), training=(), size=size)
    names = [person_id(number) for number in open_files(config).numbers()]
    questions, rejected = released_questions(config, names)
    # Strays tell whole persons again of whom no row can be read; their rows were rejected one by one already.
    told = {row.row_id for row in rejected}
    rejected += [row for row in released_strays(config) if row.row_id not in told]
    if not questions:
        reasons = "; ".join(f"{row.row_id}: {row.reason}" for row in rejected[:3]) or "it has no rows"
        raise UserError(
            f"no row of the table can be asked: {reasons}",
            where=table,
            expected=f"rows whose histories are below {root}",
            remedy=f"run `personamem released check {table} --root {root}`, which tells all that is wrong",
        )
    asked = sorted({question.person_id for question in questions})
    personas, _ = released_personas(config, asked)

    def histories() -> Iterator[History]:
        for name in asked:
            yield from released_histories(config, [name])

    source = Source(
        questions=sorted(questions, key=lambda question: question.question_id),
        histories=histories,
        profiles={persona.person_id: profile_text(persona.profile) for persona in personas},
        orders=orders,
        seed=seed,
        people_per_batch=people_per_batch,
        where=str(table),
    )
    return Released(source, tuple(rejected))
