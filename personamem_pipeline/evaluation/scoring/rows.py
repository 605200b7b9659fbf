"""A system's answers as columns, so that a total over any of them is one count: what every figure is made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.records import Answer
from personamem_pipeline.evaluation.statistics.clusters import Totals

ValueT = TypeVar("ValueT", bound=Hashable)
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Rows:
    """Answers of one system with their persons as numbers. All methods that take `rows` mean indices of answers."""

    system: str
    answers: Sequence[Answer]
    names: tuple[str, ...]
    """The persons, sorted."""
    person: Indices
    """Of each answer: its place in `names`."""
    correct: NDArray[np.float64]
    """Of each answer: 1 where the strict parser's pick is right, else 0."""

    @classmethod
    def of(cls, answers: Sequence[Answer], where: str = "") -> Rows:
        """Refuses no answers (`where`: whose they would be): a mean of nothing is not 0."""
        if not answers:
            raise UserError(
                "a system without answers cannot be scored",
                where=where,
                expected="answers to the benchmark's questions",
            )
        names = tuple(sorted({answer.person_id for answer in answers}))
        place = {name: index for index, name in enumerate(names)}
        return cls(
            system=answers[0].system,
            answers=answers,
            names=names,
            person=np.array([place[answer.person_id] for answer in answers], dtype=np.intp),
            correct=np.array([answer.correct for answer in answers], dtype=np.float64),
        )

    def totals(
        self, rows: Indices | None = None, values: ArrayLike | None = None, names: Sequence[str] | None = None
    ) -> Totals:
        """Sums and counts per person of `values` (one per answer; else `correct`) over some answers (else all).

        The persons are those with an answer among `rows`; `names`, sorted and among all persons, fixes them instead.
        """
        person = self.person if rows is None else self.person[rows]
        column = self.correct if values is None else np.asarray(values, dtype=np.float64)
        column = column if rows is None else column[rows]
        counts = np.bincount(person, minlength=len(self.names)).astype(np.float64)
        sums = np.bincount(person, weights=column, minlength=len(self.names)).astype(np.float64)
        wanted = counts > 0 if names is None else np.isin(np.array(self.names), np.array(names))
        kept = tuple(name for name, keep in zip(self.names, wanted, strict=True) if keep)
        return Totals(kept, sums[wanted], counts[wanted])

    def where(self, condition: Callable[[Answer], bool]) -> Indices:
        """The answers of which something holds."""
        return np.array([index for index, answer in enumerate(self.answers) if condition(answer)], dtype=np.intp)

    def by(self, of: Callable[[Answer], ValueT]) -> dict[ValueT, Indices]:
        """The answers of each value that occurs."""
        found: dict[ValueT, list[int]] = {}
        for index, value in enumerate(map(of, self.answers)):
            found.setdefault(value, []).append(index)
        return {value: np.array(rows, dtype=np.intp) for value, rows in found.items()}

    def questions(self, rows: Indices | None = None) -> int:
        """How many questions some answers (else all) are to."""
        chosen = self.answers if rows is None else [self.answers[index] for index in rows]
        return len({answer.question_id for answer in chosen})

    def places(self) -> list[tuple[str, int, str]]:
        """What was asked: (question_id, order, moment) of each answer."""
        return [(answer.question_id, answer.order, answer.moment) for answer in self.answers]


def share(counts: Counter[str], names: Sequence[str]) -> dict[str, float]:
    """Each name's share of a count of them all; no share of nothing."""
    everything = sum(counts.values())
    return {name: counts[name] / everything for name in names} if everything else {}
