"""Random numbers that are the same in every process and on every day.

Every draw comes from a generator keyed by (seed, purpose, id...) through SHA-256. Python's `hash()` differs between
processes and the global `random` depends on who drew before, so neither is used anywhere in this project.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, TypeVar

ItemT = TypeVar("ItemT")


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, ASCII. What every digest is taken over."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """Hex SHA-256 of a JSON-able value's canonical text, or of raw bytes."""
    data = value if isinstance(value, bytes) else canonical_json(value).encode()
    return hashlib.sha256(data).hexdigest()


def stable_int(*key: str | int) -> int:
    """A 64-bit integer that depends on nothing but its key."""
    return int.from_bytes(hashlib.sha256(canonical_json(key).encode()).digest()[:8], "big")


def rng(seed: int, purpose: str, *ids: str | int) -> random.Random:
    """A private generator for one purpose and one thing, e.g. `rng(0, "options", question_id)`."""
    return random.Random(stable_int(seed, purpose, *ids))


def fraction(seed: int, purpose: str, *ids: str | int) -> float:
    """A number in [0, 1) that depends on nothing but its key: for splits and hold-outs."""
    return stable_int(seed, purpose, *ids) / 2.0**64


def endless(items: Sequence[ItemT], seed: int, purpose: str) -> Iterator[tuple[int, ItemT]]:
    """(epoch, item) for ever: all items in a seeded order, then all again in another."""
    for epoch in count():
        yield from ((epoch, item) for item in rng(seed, purpose, epoch).sample(items, len(items)))
