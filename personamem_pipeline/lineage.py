"""What depends on what, and what one materialization was made from.

Plain data without Dagster: the graph's shape (one truth for the assets, the resolver, the freshness rule and the stage
commands), and the frozen record of a parent that a stage is given. What a checkpoint says of itself is in `passports`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict

from personamem_pipeline.seeds import digest

CheckStatus = Literal["passed", "failed", "none"]

CHECKPOINTS, REPORTS = "checkpoints", "reports"
"""Store kinds of what is trained, and of what is told of it."""
PASSPORT = "passport.json"
"""A checkpoint's file about itself (`passports.records.Passport`)."""


@dataclass(frozen=True)
class Node:
    """One asset: where its data are kept and what it is made from."""

    kind: str
    """Store kind: `<store>/<kind>/<version>`."""
    parents: tuple[str, ...] = ()
    sharded: bool = False
    group: str = field(default="data")
    gpu: bool = False
    """Whether making it wants the GPUs: such stages share the pool `h100`, so that as many run as there are nodes."""


GRAPH: dict[str, Node] = {
    "persona_seeds": Node("persona_seeds", sharded=True),
    "personas": Node("personas", ("persona_seeds",), sharded=True),
    "conversations": Node("sessions", ("personas",), sharded=True),
    "histories": Node("histories", ("personas", "conversations"), sharded=True),
    "questions": Node("questions", ("personas", "histories"), sharded=True),
    "training_dataset": Node("training_dataset", ("personas", "histories", "questions"), group="datasets"),
    "benchmark": Node("benchmark", ("personas", "histories", "questions"), group="datasets"),
    "base_model": Node(CHECKPOINTS, group="training"),
    "sft_checkpoint": Node(CHECKPOINTS, ("training_dataset", "base_model"), group="training", gpu=True),
    "grpo_checkpoint": Node(CHECKPOINTS, ("training_dataset", "sft_checkpoint"), group="training", gpu=True),
    "benchmark_report": Node(
        REPORTS, ("benchmark", "base_model", "sft_checkpoint", "grpo_checkpoint"), group="evaluation", gpu=True
    ),
}
"""Every asset, parents first."""


class Parent(BaseModel):
    """One materialization of one asset (or of one shard of it), as it was when a child looked."""

    model_config = ConfigDict(frozen=True)
    name: str
    shard: str | None
    version: str
    kind: str
    path: str
    storage_id: int
    """Row of the materialization event in Dagster's event log."""
    checks: CheckStatus
    failed_checks: tuple[str, ...] = ()


def ancestors(name: str) -> list[str]:
    """Everything upstream of an asset, parents first, without itself."""
    wanted = set(GRAPH[name].parents)
    for other in reversed(GRAPH):
        if other in wanted:
            wanted.update(GRAPH[other].parents)
    return [other for other in GRAPH if other in wanted]


def materialize_command(name: str) -> str:
    """The shell command that builds an asset and everything upstream of it."""
    return f"dagster asset materialize --select '*{name}'"


def shard_names(count: int) -> tuple[str, ...]:
    """Partition keys `00`, `01`, ... of a graph with `count` shards (at most 99)."""
    return tuple(f"{number:02d}" for number in range(count))


def combined_version(versions: dict[str, str]) -> str:
    """The version of several shards together; of a single shard, its own."""
    return next(iter(versions.values())) if len(versions) == 1 else digest(versions)
