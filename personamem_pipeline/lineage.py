"""What depends on what, and what one materialization was made from.

Plain data without Dagster: the graph's shape (one truth for the assets, the resolver, the freshness rule and the stage
commands), the frozen record of a parent that a stage is given, and the passport that a checkpoint carries so that its
lineage survives the loss of every database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.seeds import digest

PASSPORT = "passport.json"

CheckStatus = Literal["passed", "failed", "none"]


@dataclass(frozen=True)
class Node:
    """One asset: where its data are kept and what it is made from."""

    kind: str
    """Store kind: `<store>/<kind>/<version>`."""
    parents: tuple[str, ...] = ()
    sharded: bool = False
    group: str = field(default="data")


GRAPH: dict[str, Node] = {
    "persona_seeds": Node("persona_seeds", sharded=True),
    "personas": Node("personas", ("persona_seeds",), sharded=True),
    "conversations": Node("sessions", ("personas",), sharded=True),
    "histories": Node("histories", ("personas", "conversations"), sharded=True),
    "questions": Node("questions", ("personas", "histories"), sharded=True),
    "training_dataset": Node("training_dataset", ("personas", "histories", "questions"), group="datasets"),
    "benchmark": Node("benchmark", ("personas", "histories", "questions"), group="datasets"),
    "base_model": Node("checkpoints", group="training"),
    "sft_checkpoint": Node("checkpoints", ("training_dataset", "base_model"), group="training"),
    "grpo_checkpoint": Node("checkpoints", ("training_dataset", "sft_checkpoint"), group="training"),
    "benchmark_report": Node(
        "reports", ("benchmark", "base_model", "sft_checkpoint", "grpo_checkpoint"), group="evaluation"
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


class Passport(BaseModel):
    """`passport.json` of a checkpoint: what it was made from. Stages may add fields of their own."""

    model_config = ConfigDict(frozen=True, extra="allow")
    stage: str
    inputs: dict[str, str]
    """Name of each parent -> its version."""
    code_version: str
    preset: dict[str, Any] = {}


def read_passport(directory: Path) -> Passport:
    """The passport of a checkpoint directory; `IntegrityError` when there is none or it is not one."""
    path = directory / PASSPORT
    try:
        return Passport.model_validate_json(path.read_text())
    except FileNotFoundError:
        raise IntegrityError("the checkpoint has no passport", where=path, remedy="materialize it again") from None
    except ValidationError as error:
        raise IntegrityError(f"not a passport: {error}", where=path, remedy="materialize it again") from error


def passport_problems(directory: Path, inputs: Mapping[str, str]) -> list[str]:
    """How a checkpoint's passport differs from the inputs that were resolved for it; empty when it does not."""
    try:
        stated = read_passport(directory).inputs
    except IntegrityError as error:
        return [str(error)]
    names = sorted({*stated, *inputs})
    return [
        f"{name}: the passport says {stated.get(name, 'nothing')}, this run resolved {inputs.get(name, 'nothing')}"
        for name in names
        if stated.get(name) != inputs.get(name)
    ]
