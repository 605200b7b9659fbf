"""Where an evaluation's people come from, a batch of them in memory at a time.

Questions are small and are held; histories of 128k tokens are not. Each system passes over the people once, in the same
fixed batches, so that a killed evaluation repeats only the batch that was in flight and ends with the same bytes. Of a
benchmark of short histories the first pass is kept, because reading it again would cost more than a small model's answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from personamem_pipeline.arrow import stream_parquet
from personamem_pipeline.errors import UserError
from personamem_pipeline.questions.copying import HISTORIES, QUESTIONS
from personamem_pipeline.records import History, Persona, Question
from personamem_pipeline.store import Store

KEPT = 32_000_000
"""Characters of chat up to which a whole benchmark stays in memory once it was read: 200 people of 32k tokens."""


@dataclass(frozen=True)
class Person:
    """One person of the benchmark, and what will be asked about them."""

    history: History
    questions: tuple[Question, ...]
    profile: str
    """The public profile, one `field: value` a line; empty where the benchmark's personas are not at hand."""

    @property
    def person_id(self) -> str:
        return self.history.person_id


@dataclass(frozen=True)
class Batch:
    """People who are read and asked together; at least two, unless the benchmark has only one."""

    index: int
    people: tuple[Person, ...]
    orders: int
    """Seeded option orders per question."""
    seed: int

    @property
    def questions(self) -> list[Question]:
        return [question for person in self.people for question in person.questions]


@dataclass(frozen=True)
class Source:
    """A benchmark to ask. `histories` opens a fresh pass over the people, in order of their ids."""

    questions: Sequence[Question]
    """Admitted ones, by id."""
    histories: Callable[[], Iterable[History]]
    profiles: Mapping[str, str]
    orders: int
    seed: int
    people_per_batch: int
    where: str
    """What errors name."""

    def __post_init__(self) -> None:
        if not self.questions:
            raise UserError(
                "the benchmark has no admitted question",
                where=self.where,
                remedy="look at the funnel of its card: why were all refused?",
            )

    @cached_property
    def by_person(self) -> dict[str, tuple[Question, ...]]:
        """Person id -> their questions, both in order."""
        found: dict[str, list[Question]] = {}
        for question in self.questions:
            found.setdefault(question.person_id, []).append(question)
        return {person: tuple(own) for person, own in sorted(found.items())}

    def people(self) -> Iterator[Person]:
        """Everybody who is asked about, in order; refuses questions about people without a history."""
        return iter(self._kept) if self._kept else self._read()

    @cached_property
    def _kept(self) -> list[Person]:
        """Everybody, once a pass came to its end and all of them are small enough; until then empty."""
        return []

    def _read(self) -> Iterator[Person]:
        passed: list[Person] = []
        size = 0
        for person in self._opened():
            size += sum(len(message.content) for message in person.history.messages)
            if size <= KEPT:
                passed.append(person)
            else:
                passed.clear()
            yield person
        if size <= KEPT:
            self._kept[:] = passed

    def _opened(self) -> Iterator[Person]:
        waiting = dict(self.by_person)
        for history in self.histories():
            if history.person_id in waiting:
                own = waiting.pop(history.person_id)
                yield Person(history, own, self.profiles.get(history.person_id, ""))
        if waiting:
            person, own = next(iter(waiting.items()))
            raise UserError(
                f"{len(waiting)} people are asked about and have no history, the first is {person}",
                where=f"{self.where}, question {own[0].question_id}",
                expected="a history for every person with questions",
                remedy="materialize the benchmark again, or remove the questions",
            )

    def batches(self) -> Iterator[Batch]:
        """The people in fixed batches. The last is never a single person, who would have nobody to swap with."""
        people = self.people()
        for index, size in enumerate(self.batch_sizes):
            yield Batch(index, tuple(islice(people, size)), self.orders, self.seed)
        next(people, None)  # to the end of the pass, where people without a history are told

    @cached_property
    def batch_sizes(self) -> tuple[int, ...]:
        """How many people each batch has."""
        count, size = len(self.by_person), self.people_per_batch
        starts = list(range(0, count, size))
        if len(starts) > 1 and count - starts[-1] == 1:
            starts.pop()
        return tuple(end - start for start, end in zip(starts, [*starts[1:], count], strict=True))


def benchmark_source(store: Store, version: str, *, orders: int, seed: int, people_per_batch: int) -> Source:
    """The stored benchmark of that version, after its digests were recomputed."""
    directory = store.verified("benchmark", version)
    profiles = _profiles(store, version)
    return directory_source(directory, profiles, orders=orders, seed=seed, people_per_batch=people_per_batch)


def directory_source(
    directory: Path, profiles: Mapping[str, str], *, orders: int, seed: int, people_per_batch: int
) -> Source:
    """The benchmark whose files are in a directory, as they are."""
    questions = sorted(stream_parquet(directory / QUESTIONS, Question), key=lambda row: row.question_id)
    return Source(
        questions=[question for question in questions if question.certificate.admitted],
        histories=lambda: _in_order(directory / HISTORIES),
        profiles=profiles,
        orders=orders,
        seed=seed,
        people_per_batch=people_per_batch,
        where=str(directory),
    )


def profile_text(profile: Mapping[str, str]) -> str:
    """A public profile as a model reads it: one bullet a field."""
    return "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in sorted(profile.items()) if value)


def _in_order(path: Path) -> Iterator[History]:
    last = ""
    for history in stream_parquet(path, History):
        if history.person_id <= last:
            raise UserError(
                f"{history.person_id} comes after {last}",
                where=path,
                expected="histories in the order of their person ids, each once",
                remedy="materialize the benchmark again",
            )
        last = history.person_id
        yield history


def _profiles(store: Store, version: str) -> dict[str, str]:
    """From the persona shards that the benchmark was gathered from, as far as the store still has them."""
    parents = store.manifest("benchmark", version).parents
    shards = [shard for name, shard in sorted(parents.items()) if name.startswith("personas/")]
    here = [shard for shard in shards if store.has("personas", shard)]
    rows = (row for shard in here for row in store.stream_rows("personas", shard, Persona))
    return {row.person_id: profile_text(row.profile) for row in rows if row.split == "benchmark"}
