"""Errors that a person can act on.

Every refusal of bad input is a `UserError`: it says what is wrong, where, what was expected and what to do.
The command line prints it as one message without a traceback and exits with code 2.
"""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """Input that cannot be used. `remedy` says what to do about it."""

    def __init__(self, problem: str, *, where: str | Path = "", expected: str = "", remedy: str = "") -> None:
        self.problem, self.where, self.expected, self.remedy = problem, str(where), expected, remedy
        lines = [f"{self.where}: {problem}" if self.where else problem]
        if expected:
            lines.append(f"  expected: {expected}")
        if remedy:
            lines.append(f"  to do:    {remedy}")
        super().__init__("\n".join(lines))


class IntegrityError(UserError):
    """Stored bytes are not the bytes that their digest names."""


class Refused(Exception):
    """A model endpoint gave no usable answer to one request; the row it was for is rejected, never defaulted.

    `args` are the row's key and the reason (`code: explanation`); `content` is what came back instead, cut as the
    rejection that will show it.
    """

    def __init__(self, key: str, reason: str, content: str = "") -> None:
        from personamem_pipeline.records import CONTENT_LIMIT  # here: the command line loads errors before pydantic

        super().__init__(key, reason)
        self.content = content[:CONTENT_LIMIT]
