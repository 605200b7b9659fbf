"""Walking a chain: from stored things to the parents they name, and on, parents after children, each once.

Only the order is here. What a thing is looked at for, and so what counts as its parents, is the caller's: a report hashes
datasets and checkpoints (`evaluation.provenance`), `personamem verify` every shard as well.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from personamem_pipeline.lineage import GRAPH

SHORT = 12
"""Characters of a version that people are shown."""


@dataclass(frozen=True)
class Thing:
    """One stored thing of a chain: an asset, or a shard of one, as a child of it names it."""

    name: str
    """The asset."""
    version: str
    shard: str | None = None
    child: str = ""
    """Label of the thing that names this one among its parents; empty where the walk began."""

    @property
    def kind(self) -> str:
        return GRAPH[self.name].kind

    @property
    def label(self) -> str:
        """For people: `questions/03 890e93e86b70`."""
        return f"{self.name}{f'/{self.shard}' if self.shard else ''} {self.version[:SHORT]}"


def walk(start: Mapping[str, str], visit: Callable[[Thing], Mapping[str, str]]) -> None:
    """Visit everything that can be reached from `start` (asset -> version), nearest first.

    `visit` answers with the thing's parents, `asset` or `asset/shard` -> version; names that are no assets are not followed.
    A shard's parents are shards of the same name.
    """
    waiting = deque(Thing(name, version) for name, version in sorted(start.items()))
    seen: set[tuple[str, str]] = set()
    while waiting:
        thing = waiting.popleft()
        if (thing.name, thing.version) in seen:
            continue
        seen.add((thing.name, thing.version))
        for key, version in sorted(visit(thing).items()):
            name, _, shard = key.partition("/")
            if name in GRAPH:
                waiting.append(Thing(name, version, shard or thing.shard, thing.label))
