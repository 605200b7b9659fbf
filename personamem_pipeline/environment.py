"""One variable of the environment at a time: read, checked, and told about by its name where it cannot be used.

Only `settings` calls this; everything else is given a `Settings`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from personamem_pipeline.errors import UserError

NumberT = TypeVar("NumberT", int, float)


def key(variable: str, base_url: str | None) -> SecretStr | None:
    """A key from its variable. OpenAI's own variable is a key for OpenAI and goes to no other host."""
    openai = urlsplit(base_url or "").hostname == "api.openai.com"
    text = os.environ.get(variable) or (os.environ.get("OPENAI_API_KEY") if openai else None)
    return SecretStr(text) if text else None


def without_secrets(base_url: str | None, prefix: str) -> None:
    """An address is shown and stored as it is, so no secret may stand in it."""
    parts = urlsplit(base_url or "")
    if parts.password or parts.username or set(parse_qs(parts.query)) - {"api-version"}:
        raise UserError(
            "the address has a user, a password or a query in it, which would be shown and stored",
            where=f"{prefix}_BASE_URL",
            expected="an address, with ?api-version=... at most",
            remedy="take it out of the address"
            if prefix == "PERSONAMEM_VLLM"
            else f"put the key into {prefix}_API_KEY",
        )


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


def one_of(variable: str, values: tuple[str, ...]) -> str:
    """One of the values; the first where the variable is not set."""
    text = os.environ.get(variable) or values[0]
    if text not in values:
        raise UserError(f"{text!r} is none of its values", where=variable, expected=" or ".join(values))
    return text
