"""One variable of the environment at a time: read, checked, and told about by its name where it cannot be used.

Only `settings` calls this; everything else is given a `Settings`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from personamem_pipeline.errors import UserError

NumberT = TypeVar("NumberT", int, float)
IMAGE_DIGEST = re.compile(r"(?:[^\s@]+@)?sha256:[0-9a-f]{64}")


def key(variable: str, base_url: str | None) -> SecretStr | None:
    """A key from its variable. OpenAI's own variable is a key for OpenAI and goes to no other host."""
    openai = urlsplit(base_url or "").hostname == "api.openai.com"
    text = os.environ.get(variable) or (os.environ.get("OPENAI_API_KEY") if openai else None)
    return SecretStr(text) if text else None


def without_secrets(address: str | None, variable: str, *, remedy: str, queries: tuple[str, ...] = ()) -> str | None:
    """The address as it is: it is shown and stored, so no secret may stand in it. `queries` may be asked; where there is no
    host, the path may have an @ in it."""
    before, _, query = ((address or "").partition("://")[2] or (address or "")).partition("?")
    # Not by the parts of a URL: a password with a slash in it would be taken for a path.
    user = "@" in before and not before.startswith("/")
    if user or "@" in query or set(parse_qs(query, keep_blank_values=True)) - set(queries):
        raise UserError(
            "the address has a user, a password or a query in it, which would be shown and stored",
            where=variable,
            expected="an address without @" + "".join(f", with ?{name}=... at most" for name in queries),
            remedy=remedy,
        )
    return address


def number(variable: str, kind: Callable[[str], NumberT], lowest: float | None = 0) -> NumberT | None:
    """A number, or None where the variable is not set."""
    text = os.environ.get(variable)
    if not text:
        return None
    whole = kind is int
    try:
        number = kind(text)
    except ValueError:
        problem = f"{text!r} is {'not a whole number' if whole else 'no number'}"
        raise UserError(problem, where=variable, remedy=f"unset it, or export {variable}=1") from None
    if not abs(number) < float("inf") or (lowest is not None and number < lowest):
        expected = f"a number from {lowest:g}" if lowest is not None else "a finite number"
        raise UserError(f"{text!r} is out of range", where=variable, expected=expected, remedy="unset it, or change it")
    return number


def path(variable: str) -> Path | None:
    """An absolute path, or None where the variable is not set."""
    text = os.environ.get(variable)
    return Path(text).absolute() if text else None


def image_digest(variable: str) -> str | None:
    """The digest of a container image, with or without its name, or None where the variable is not set. A tag is none: it
    may name another image tomorrow."""
    text = os.environ.get(variable)
    if text and not IMAGE_DIGEST.fullmatch(text):
        raise UserError(
            f"{text!r} is no digest of an image",
            where=variable,
            expected="sha256:<64 hex digits>, or name@sha256:<64 hex digits>",
            remedy="unset it, or take the digest from `docker image inspect` (RepoDigests)",
        )
    return text or None


def one_of(variable: str, values: tuple[str, ...]) -> str:
    """One of the values; the first where the variable is not set."""
    text = os.environ.get(variable) or values[0]
    if text not in values:
        raise UserError(f"{text!r} is none of its values", where=variable, expected=" or ".join(values))
    return text
