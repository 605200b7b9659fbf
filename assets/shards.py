"""Running a sharded data stage: shard by shard, holding one shard's rows at a time.

What belongs here is what personas, conversations, histories and questions have in common: reading the parents, storing
rows and rejections, proving that no row was lost, and one result for all shards of a run. What a stage writes and what
it checks is its own file's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import dagster as dg
from pydantic import BaseModel

from assets.checks import SHOWN, Outcome
from assets.common import SAMPLE_ROWS, ShardResult, clear_errors, producer, sharded_result, tell
from assets.parents import Guard, Parents, resolve
from personamem_pipeline.lineage import GRAPH
from personamem_pipeline.llm.client import Endpoint
from personamem_pipeline.llm.usage import Answered
from personamem_pipeline.records import Rejection
from personamem_pipeline.store import Store

RecordT = TypeVar("RecordT", bound=BaseModel)
ReadT = TypeVar("ReadT", bound=BaseModel)


@dataclass(frozen=True)
class Shard:
    """What a stage is given to make one shard from."""

    name: str
    stage: str
    store: Store
    parents: Parents
    context: dg.AssetExecutionContext

    def read(self, parent: str, record: type[ReadT]) -> list[ReadT]:
        """The rows of a parent's shard of the same name."""
        return self.store.read_rows(GRAPH[parent].kind, self._version(parent), record)

    def rejected(self, parent: str) -> list[Rejection]:
        """What that parent's stage rejected."""
        return self.store.read_rejected(GRAPH[parent].kind, self._version(parent))

    def tell(self, what: str, endpoint: Endpoint) -> Callable[[int, int], None]:
        """Where an endpoint's progress goes."""
        return tell(self.context, f"{what} {self.name}", endpoint)

    def _version(self, parent: str) -> str:
        return self.parents[f"{parent}/{self.name}"].version


@dataclass(frozen=True)
class Made(Generic[RecordT]):
    """What came of one shard: each of `planned` is the id of a row or of a rejection, and no other row is there."""

    rows: Sequence[RecordT]
    planned: Sequence[str]
    rejected: Sequence[Rejection] = ()
    given: Any = None
    """What the stage's survey needs besides the rows."""
    made_by: Mapping[str, str] = field(default_factory=dict)
    """What the producer says of this shard alone."""


class Survey(ABC, Generic[RecordT]):
    """Counts, checks and a sample of a run's rows, gathered shard by shard so that no more than a shard is held."""

    checks: Sequence[str]
    """The checks whose problems `see` notes."""

    def __init__(self) -> None:
        self.rows = 0
        self.refused = 0
        """Planned rows that were rejected."""
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.sample: list[dict[str, Any]] = []
        self._found: Counter[str] = Counter()
        self._shown: dict[str, list[str]] = {}

    def add(self, made: Made[RecordT]) -> None:
        """Take one shard into account."""
        planned = set(made.planned)
        self.rows += len(made.rows)
        self.refused += sum(rejection.row_id in planned for rejection in made.rejected)
        self.reasons.update(rejection.reason.partition(":")[0] for rejection in made.rejected)
        self.note("nothing_lost", lost([self.id_of(row) for row in made.rows], made.planned, made.rejected))
        self.sample += [self.show(row) for row in made.rows[: SAMPLE_ROWS - len(self.sample)]]
        self.see(made)

    def note(self, check: str, problems: Sequence[str]) -> None:
        """Keep what is wrong under the check's name: all are counted, the first few kept."""
        self._found[check] += len(problems)
        shown = self._shown.setdefault(check, [])
        shown += problems[: SHOWN - len(shown)]

    def outcomes(self) -> list[Outcome]:
        """One outcome for each check."""
        return [
            Outcome(
                check,
                not self._found[check],
                {"problems": self._found[check], "rows": self.rows, **self.facts(check)},
                tuple(self._shown.get(check, ())),
            )
            for check in ("nothing_lost", *self.checks)
        ]

    def few_rejected(self, least: float = 0.8) -> Outcome:
        """A row that an author got wrong is left out; when many are, something is wrong with the author or its prompt."""
        planned = self.rows + self.refused
        share = self.rows / planned if planned else 0.0
        facts = {"written": self.rows, "rejected": self.refused, "least": least, **self.reasons}
        return Outcome("few_rejected", share >= least, facts)

    def facts(self, check: str) -> Mapping[str, Any]:
        """What an outcome says beside its problems."""
        return {}

    @abstractmethod
    def id_of(self, row: RecordT) -> str:
        """The id by which a row is planned."""

    @abstractmethod
    def see(self, made: Made[RecordT]) -> None:
        """Count the rows of one shard and note what is wrong with them."""

    @abstractmethod
    def show(self, row: RecordT) -> dict[str, Any]:
        """A row of the sample for people."""


def lost(ids: Sequence[str], planned: Sequence[str], rejected: Sequence[Rejection]) -> list[str]:
    """What is wrong with: rows in = rows out + rows rejected. A rejection of a part (a preference) is no row."""
    ended = Counter(ids) + Counter(rejection.row_id for rejection in rejected if rejection.row_id in set(planned))
    return [
        *(f"{row_id} was planned and is neither written nor rejected" for row_id in planned if not ended[row_id]),
        *(f"{row_id} ended {count} times" for row_id, count in ended.items() if count > 1),
        *(f"{row_id} was not planned" for row_id in sorted(set(ids) - set(planned))),
    ]


def run_shards(
    context: dg.AssetExecutionContext,
    name: str,
    record: type[RecordT],
    version: str,
    store: Store,
    guard: Guard,
    make: Callable[[Shard], Made[RecordT]],
    survey: Survey[RecordT],
    *,
    endpoints: Sequence[Endpoint] = (),
    made_by: Mapping[str, str] | None = None,
) -> dg.MaterializeResult:
    """Make every shard of this run and store it; `endpoints` are those that `make` asks, the author first. `made_by` is
    what every shard's producer says beside stage and code version (`written_by`, `made_from`)."""
    parents = resolve(context, name, store, guard=guard, shards=context.partition_keys)
    shards = []
    with clear_errors():
        for shard in context.partition_keys:
            before = [endpoint.usage.answered() for endpoint in endpoints]
            made = make(Shard(shard, name, store, parents, context))
            survey.add(made)
            asked = [endpoint.usage.answered() - start for endpoint, start in zip(endpoints, before, strict=True)]
            manifest = store.write_rows(
                GRAPH[name].kind,
                record,
                made.rows,
                parents=parents.versions(shard),
                producer=producer(name, version, **(made_by or {}), **made.made_by, **cost(asked)),
                rejected=made.rejected,
            )
            shards.append(ShardResult(shard, manifest, len(made.rows)))
    return sharded_result(
        context,
        name,
        store,
        parents,
        shards,
        counts={"rows": survey.rows, "rejected": survey.refused, **survey.counts},
        reasons=survey.reasons,
        sample=survey.sample,
        outcomes=survey.outcomes(),
        endpoints=endpoints,
    )


def cost(asked: Sequence[Answered]) -> dict[str, str]:
    """What answers a shard took, for its manifest: cached or not, so that a re-run has the same version."""
    if not asked:
        return {}
    return {
        "answers": str(sum(each.answers for each in asked)),
        "prompt_tokens": str(sum(each.prompt_tokens for each in asked)),
        "completion_tokens": str(sum(each.completion_tokens for each in asked)),
    }
