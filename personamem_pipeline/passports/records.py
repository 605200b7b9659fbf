"""What a checkpoint says of its origin: the passport inside its digest, and the makings attached beside it.

Two kinds of fact, kept apart. What the *content* follows from (data, configuration, code version, packages, seeds, which
rows each step saw) is the passport: a file of the checkpoint, covered by its version. The same inputs give the same
passport, so that a run which was preempted and resumed ends with the digest of an unbroken one. What belongs to *one
making* of it (Dagster run, MLflow run, git commit, image, hardware, time) would differ between two runs with equal weights;
each making adds a file of its own to `attached/makings/`, which names the version that it is about.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.lineage import PASSPORT

ROWS = "rows.json"
"""Which rows each optimizer step saw; a file of the checkpoint beside the passport."""
MAKINGS = "makings"
"""Folder among a checkpoint's attachments (`store.Store.attach`): one `<name>.json` per making."""
FILE = "file:"
"""In a shard's producer, `file:<path, relative to the project>` -> SHA-256 of each file that its rows come from: the
seeds' file and the tables, the released tables, a file of padding dialogues."""


class Frozen(BaseModel):
    """Base of what is written once."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Author(Frozen):
    """What wrote the rows of one data stage: equal for all shards, or the stage stands here more than once."""

    stage: str
    author: str | None
    """The model, with its version; None where no model writes (drawn seeds, assembled histories)."""
    code_version: str
    """Names the stage's code, and through its digest the prompts and the section of the preset."""
    prompts: str | None
    """Digest of the prompts' texts; None where there are none."""
    seed: str | None
    rows: int
    shards: tuple[str, ...]
    """Versions of the shards that it wrote, in order."""
    files: dict[str, str] = {}
    """Path, relative to the project -> SHA-256 of the files that the rows come from (`FILE`); most stages have none."""


class Data(Frozen):
    """The rows behind a training: its dataset, and who wrote what is in it."""

    dataset: str
    version: str
    authors: tuple[Author, ...]
    """Parents first: persona_seeds, personas, conversations, histories, questions."""


class Reward(Frozen):
    """What a checkpoint was rewarded for, and by whom."""

    version: str
    """Digest of what follows and of the code constant of the rewards."""
    weights: dict[str, float]
    judge: str | None
    """The model that judges open answers; None where none does."""
    judge_prompts: str | None
    """Digest of its prompts' texts."""


class RowsUsed(Frozen):
    """`rows.json`: which rows each optimizer step saw, compactly. Row ids once, sorted; steps refer to them by position."""

    format: Literal[1] = 1
    ids: tuple[str, ...]
    """Rows of the training dataset: a question's id where it was asked, a person's id where (a part of) that person's
    history stood in a prompt."""
    steps: tuple[tuple[int, ...], ...]
    """Per optimizer step, positions in `ids`, ascending, each once."""


class Passport(BaseModel):
    """`passport.json` of a checkpoint: everything its content follows from. Stages add figures of their own."""

    model_config = ConfigDict(frozen=True, extra="allow")
    format: int = 1
    """2 since data, reward, base and rows are stated; older ones lack them."""
    stage: str
    inputs: dict[str, str]
    """Name of each parent -> its version."""
    code_version: str
    preset: dict[str, Any] = {}
    """name, section and the section's digest."""
    memory: dict[str, Any] = {}
    packages: dict[str, str] = {}
    base: str | None = None
    """Version of the base model at the bottom of the chain; None on the base model itself."""
    data: Data | None = None
    reward: Reward | None = None
    rows: dict[str, int] | int | None = None
    """Of `rows.json`: steps, distinct rows. Format 1 has a number of training rows here, or nothing."""


class DagsterOrigin(Frozen):
    """Where in Dagster a job comes from."""

    run_id: str
    asset: str
    retry: int = 0
    parents: dict[str, int] = {}
    """Parent (`name`, or `name/shard`) -> storage id of the materialization event that was read."""


class Git(Frozen):
    """The code as it lay there."""

    commit: str
    dirty: bool


class Hardware(Frozen):
    """What it ran on; no host name, which says nothing to a reader and may say too much."""

    machine: str
    processors: int
    memory_bytes: int
    gpus: tuple[str, ...] = ()
    cuda: str | None = None
    driver: str | None = None


class Making(Frozen):
    """One making of a checkpoint: which run, on what, with which code. Not part of its version."""

    format: Literal[1] = 1
    checkpoint: str
    """The version that was made."""
    passport: str
    """SHA-256 of its passport.json."""
    finished: str
    """UTC, ISO 8601, to the microsecond."""
    dagster: DagsterOrigin | None
    mlflow_run: str | None
    git: Git | None
    image: str | None
    """Digest of the container image; None outside containers."""
    hardware: Hardware
    python: str
    packages: dict[str, str]
    """Every installed distribution -> version."""
    answered: bool = False
    """True: the run trained nothing, it found the stored result of an earlier one. Commit, image and machine are then of
    whoever asked again, and say nothing of the training."""


def read_passport(directory: Path) -> Passport:
    """The passport of a checkpoint directory; `IntegrityError` when there is none or it is not one."""
    path = directory / PASSPORT
    try:
        return parse_passport(path.read_bytes(), path)
    except FileNotFoundError:
        raise IntegrityError("the checkpoint has no passport", where=path, remedy="materialize it again") from None


def parse_passport(content: bytes, where: Path | str) -> Passport:
    """The passport with this content; `IntegrityError` when it is none."""
    try:
        return Passport.model_validate_json(content)
    except ValidationError as error:
        raise IntegrityError(f"not a passport: {error}", where=where, remedy="materialize it again") from error
