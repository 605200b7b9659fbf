"""How figures are put into words: one spelling of shares, points, p values and gaps for page, summary and terminal.

What is not known never looks like a figure: it is a dash here and a marked gap on the page.
"""

from __future__ import annotations

from typing import Any

NOTHING = "\N{EN DASH}"
"""What stands for a figure that is not known."""
MINUS = "\N{MINUS SIGN}"
_SPACE = "\N{NARROW NO-BREAK SPACE}"


def percent(value: float | None, digits: int = 1) -> str:
    """`0.1234` as `12.3 %`; a dash for what is not known."""
    return NOTHING if value is None else f"{100 * value:.{digits}f}{_SPACE}%"


def bare(value: float | None, digits: int = 1) -> str:
    """A share as percent without the sign, for intervals in columns that say so."""
    return NOTHING if value is None else f"{100 * value:.{digits}f}"


def points(value: float | None, digits: int = 1) -> str:
    """A difference of shares in percentage points, always with its sign."""
    return NOTHING if value is None else f"{100 * value:+.{digits}f}".replace("-", MINUS)


def span(low: float | None, high: float | None) -> str:
    """An interval of a difference, in points."""
    return NOTHING if low is None or high is None else f"{points(low)} to {points(high)}"


def p_value(value: float | None) -> str:
    """A p value as one reads it; a dash where there was no test."""
    if value is None:
        return NOTHING
    if value >= 0.001:
        return f"{value:.3f}"
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.1e}".replace("e-0", "e-")


def count(value: float | None) -> str:
    """A whole number with thousands separated; a dash for what is not known."""
    return NOTHING if value is None else f"{value:,.0f}"


def amount(value: float | int | None) -> str:
    """Counts as counts and shares as shares: an int is a number of things, a float a share of them."""
    return percent(value) if isinstance(value, float) else count(value)


def decimal(value: float | None, digits: int = 2) -> str:
    """A plain number, such as an agreement coefficient."""
    return NOTHING if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def plain(name: Any) -> str:
    """An identifier as words."""
    return str(name).replace("_", " ")


def clipped(text: str, most: int) -> str:
    """At most about `most` characters: the beginning and, as answers stand last in a reply, twice as much of the end."""
    if len(text) <= most:
        return text
    head, tail = most // 3, most - most // 3
    return f"{text[:head]} [{len(text) - most:,} characters left out here] {text[-tail:]}"
