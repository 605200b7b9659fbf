"""Types of arguments that several commands take: each says what it expected."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    return _whole(text, 1)


def count(text: str) -> int:
    """An argument that is a whole number from 0."""
    return _whole(text, 0)


def not_negative(text: str) -> float:
    """An argument that is a finite number from 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return value


def _whole(text: str, lowest: int) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < lowest:
        expected = f"of at least {lowest}" if lowest else "from 0"
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {expected}")
    return int(text)
