"""The record of one making of a checkpoint, attached beside it: which run, on what, with which code.

A making is written after the checkpoint is stored, by the process that stored it, and also where the same version was
there already: that somebody made it again, elsewhere, with the same outcome is worth knowing. A run that found the stored
result of an earlier one, and trained nothing, says so in its own.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.lineage import CHECKPOINTS, PASSPORT
from personamem_pipeline.passports.code import NoCommit, git_of
from personamem_pipeline.passports.hardware import hardware
from personamem_pipeline.passports.records import MAKINGS, DagsterOrigin, Git, Making
from personamem_pipeline.seeds import digest
from personamem_pipeline.settings import PROJECT, Settings
from personamem_pipeline.store import Store, sha256_file

logger = logging.getLogger("personamem")


def making_of(
    store: Store,
    version: str,
    settings: Settings,
    *,
    origin: DagsterOrigin | None,
    mlflow_run: str | None,
    answered: bool = False,
) -> Making:
    """The making of a stored checkpoint by this process, as of now; `answered`: it only found the checkpoint."""
    return Making(
        checkpoint=version,
        passport=sha256_file(store.path(CHECKPOINTS, version) / PASSPORT),
        finished=datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        dagster=origin,
        mlflow_run=mlflow_run,
        git=_git(settings),
        image=settings.image,
        hardware=hardware(),
        python=platform.python_version(),
        packages=installed(),
        answered=answered,
    )


def attach_making(store: Store, making: Making) -> str:
    """Attach a making to its checkpoint and return its name there: its time (to the microsecond: the same run can make a
    checkpoint twice within a second) and the digest of its content."""
    text = making.model_dump_json(indent=1) + "\n"
    when = making.finished.replace("-", "").replace(":", "")
    name = f"{MAKINGS}/{when}-{digest(text.encode())[:12]}.json"
    store.attach(CHECKPOINTS, making.checkpoint, name, text.encode())
    return name


def makings(store: Store, version: str) -> list[Making]:
    """Every making of a checkpoint in the store, the oldest first."""
    return makings_among(store.attachments(CHECKPOINTS, version), version, store.address(CHECKPOINTS, version))


def makings_among(attached: Mapping[str, bytes], version: str, address: Path | str) -> list[Making]:
    """The makings among a checkpoint's attachments (name -> content), the oldest first. `IntegrityError` for one that is
    none, or is another version's."""
    found: list[Making] = []
    for name, data in sorted(attached.items()):
        if not name.startswith(f"{MAKINGS}/"):
            continue
        where, remedy = f"{address} {name}", "delete this file: the checkpoint is whole without it"
        try:
            making = Making.model_validate_json(data)
        except ValueError as error:
            raise IntegrityError(f"not the record of a making: {error}", where=where, remedy=remedy) from error
        if making.checkpoint != version:
            raise IntegrityError(
                f"it is about {making.checkpoint}", where=where, expected=f"a making of {version}", remedy=remedy
            )
        found.append(making)
    return found


def installed() -> dict[str, str]:
    """Every installed distribution -> its version; of two copies the one that is imported."""
    found: dict[str, str] = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name:  # a half-removed one has none
            found.setdefault(str(name), distribution.version)
    return dict(sorted(found.items()))


def _git(settings: Settings) -> Git | None:
    try:
        return git_of(PROJECT, settings.git_commit)
    except NoCommit as reason:
        logger.info("the record of this making names no commit: %s", reason)
        return None
