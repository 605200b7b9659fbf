"""What a verification says: one link for everything that was recomputed, and what a broken one means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from personamem_pipeline.lineage import PASSPORT
from personamem_pipeline.passports.records import ROWS
from personamem_pipeline.store import MANIFEST

Status = Literal["ok", "BROKEN", "gap", "note"]
"""`gap`: something is not stated or not at hand, so that it cannot be recomputed. `note`: true, and for people to judge."""
WHOLE, BROKEN, INCOMPLETE = 0, 1, 3
"""Exit codes of `personamem verify`; 2 is bad input, as everywhere."""


@dataclass(frozen=True)
class Link:
    """One thing that was recomputed, and what came out."""

    about: str
    """Label of the stored thing."""
    what: str
    """What was recomputed or compared."""
    status: Status
    found: str
    means: str = ""
    """One sentence: what a break or gap means for whoever relies on the checkpoint."""


@dataclass
class Verification:
    """All links of a checkpoint's chain, nearest first."""

    checkpoint: str
    """Its version."""
    stage: str
    directory: str
    links: list[Link] = field(default_factory=list)

    def of(self, status: Status) -> list[Link]:
        return [link for link in self.links if link.status == status]

    @property
    def first_break(self) -> Link | None:
        return next(iter(self.of("BROKEN")), None)

    @property
    def exit_code(self) -> int:
        if self.first_break:
            return BROKEN
        return INCOMPLETE if self.of("gap") else WHOLE

    @property
    def outcome(self) -> str:
        return {WHOLE: "whole", BROKEN: "broken", INCOMPLETE: "incomplete"}[self.exit_code]


def compare(about: str, what: str, pairs: Mapping[str, tuple[object, object]], means: str) -> Link:
    """A link for facts that are stated (first of each pair) and found (second): ok where all are equal."""
    problems = [f"{name}: stated is {said}, found is {found}" for name, (said, found) in pairs.items() if said != found]
    if problems:
        return broken(about, what, problems, means)
    return Link(about, what, "ok", ", ".join(pairs))


def broken(about: str, what: str, problems: Sequence[str], means: str) -> Link:
    """A broken link for one problem or more, the first of which is told."""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Link(about, what, "BROKEN", problems[0] + more, means)


def changed_file(path: str, child: str) -> str:
    """What it means that this file of a stored thing is not the one that its manifest lists; `child` was made from it."""
    name = PurePosixPath(path).name
    if name == PASSPORT:
        return "what the checkpoint says of its origin was changed afterwards, and nothing of it is believed here"
    if name == ROWS:
        return "which rows its optimizer steps saw can no longer be told"
    if name.endswith((".safetensors", ".bin", ".pt")):
        return "these are not the weights that were stored: nothing measured of the checkpoint is about them"
    if name.endswith(".parquet"):
        made = f"{child} was made from" if child else "were stored"
        return f"these are not the rows that {made}"
    return "this is not the file that was stored, and whoever loads the directory reads another one"


def stray_file() -> str:
    """What a file means that no manifest lists."""
    return "nobody vouches for it, and a program that loads the directory may read it"


def unread_file() -> str:
    """What a file means that is there and cannot be read."""
    return (
        "whether it is the file that was stored cannot be told on this machine; nothing of what it lies in is believed"
    )


def gone(child: str) -> str:
    """What a missing parent means."""
    return f"what {child or 'the checkpoint'} was made from can be neither shown nor checked, nor anything above it"


def other_manifest(child: str, whole: bool) -> str:
    """What a manifest means whose digest is not the version it stands under; `whole`: its files agree with it."""
    whose = f"what {child} was made from" if child else "the version asked for"
    if whole:
        return (
            f"another thing lies in the place of {whose}, or its files and {MANIFEST} were edited together; "
            "what it names as its parents is not followed"
        )
    return f"{MANIFEST} was edited, so nothing says any more what {whose} consisted of; its parents are not followed"
