"""Reading Dockerfiles and what the image of one would hold, without a Docker engine."""

from __future__ import annotations

import fnmatch
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from personamem_pipeline.settings import PROJECT

DOCKER = PROJECT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
SETTINGS = (PROJECT / "personamem_pipeline" / "settings.py").read_text()


@dataclass(frozen=True)
class Instruction:
    """One line of a Dockerfile: `COPY`, what stands behind it, and the number of the stage it is in."""

    name: str
    text: str
    stage: int


def instructions(path: Path) -> list[Instruction]:
    """A Dockerfile's instructions, comments and line breaks taken out."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    found: list[Instruction] = []
    stage = -1
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, text = line.strip().partition(" ")
            stage += name == "FROM"
            found.append(Instruction(name, text.strip(), stage))
    return found


def copies(path: Path) -> list[tuple[str, str]]:
    """(source, destination) of what is copied from the project, not from another stage."""
    found = []
    for one in instructions(path):
        if one.name == "COPY" and "--from=" not in one.text:
            *sources, destination = [word for word in one.text.split() if not word.startswith("--")]
            found += [(source, destination) for source in sources]
    return found


def final(path: Path, name: str) -> list[str]:
    """What the instructions of that name say in the last stage."""
    found = instructions(path)
    return [one.text for one in found if one.name == name and one.stage == found[-1].stage]


def variables(path: Path) -> dict[str, str]:
    """What ENV sets in the last stage."""
    return {
        name: value.strip('"')
        for text in final(path, "ENV")
        for name, value in re.findall(r'(\w+)=("[^"]*"|\S+)', text)
    }


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path of the project out of the build; the last pattern that fits decides."""
    out = False
    for line in (PROJECT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keeps, pattern = pattern.startswith("!"), pattern.removeprefix("!")
        parts = path.split("/")
        heads = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        if any(_fits(head, pattern) for head in heads):
            out = not keeps
    return out


def _fits(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch.fnmatchcase(path.split("/")[-1], pattern[3:])
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)


def lay_out(path: Path, app: Path) -> Path:
    """Copy what a Dockerfile copies into /app to a directory, as the build would."""
    for source, destination in copies(path):
        if destination.startswith("/"):
            continue
        target = app / source if destination == "./" else app / destination
        target.parent.mkdir(parents=True, exist_ok=True)
        if (PROJECT / source).is_dir():
            shutil.copytree(PROJECT / source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copy(PROJECT / source, target)
    return app
