"""Which commit the code was at: asked of git in the working tree, or told by the image it was built into.

No commit is better than a wrong one: a package that lies untracked inside somebody else's repository (a virtual
environment in a project) is at no commit of that repository.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from personamem_pipeline.errors import UserError
from personamem_pipeline.passports.records import Git

CODE = ("personamem_pipeline", "assets", "resources")
"""What runs. A preset's figures are in the passport, and no other file decides a byte."""
DIRTY = "-dirty"
"""Ends the commit that an image was built from with changes; `git describe --dirty` writes it so."""
_SECONDS = 30


class NoCommit(Exception):
    """There is no commit to name, and why."""


def git_of(project: Path, stated: str | None = None) -> Git:
    """The commit of the code in `project`; `stated` is what the image says, where there is no working tree.

    Raises `NoCommit`, with the reason, where neither knows, and `UserError` for a stated one that is none.
    """
    if (told := check_stated(project, stated)) is not None:
        return told
    _ask(project, "ls-files", "--error-unmatch", "--", *(f"{name}/__init__.py" for name in CODE))
    commit = _ask(project, "rev-parse", "--verify", "HEAD").strip()
    return Git(commit=commit, dirty=bool(_ask(project, "status", "--porcelain", "--", *CODE).strip()))


def check_stated(project: Path, stated: str | None) -> Git | None:
    """The commit that the image states, None where a working tree knows or nobody states any; `UserError` for one that is
    none. Asks no git, so that a stage can tell before its work."""
    return _stated(stated) if stated and not (project / ".git").exists() else None


def _stated(text: str) -> Git:
    commit = text.removesuffix(DIRTY)
    if len(commit) not in (40, 64) or set(commit) - set("0123456789abcdef"):
        raise UserError(
            f"{text!r} is no commit",
            where="the commit that the image states",
            expected=f"40 hex digits, with {DIRTY} where there were changes",
            remedy="build the image with GIT_SHA=$(git describe --always --abbrev=40 --dirty --exclude='*')",
        )
    return Git(commit=commit, dirty=text.endswith(DIRTY))


def _ask(project: Path, *arguments: str) -> str:
    # Without the variables that git sets in its hooks, which name another repository than the one we ask about.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ("git", "--no-optional-locks", "-C", str(project), *arguments)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, env=environment | {"LC_ALL": "C"}, check=False
        )
    except FileNotFoundError:
        raise NoCommit("git is not installed") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoCommit(f"git cannot be asked: {error}") from error
    if done.returncode:
        raise NoCommit(f"git says: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'nothing'}")
    return done.stdout
