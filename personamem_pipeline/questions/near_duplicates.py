"""Near-verbatim texts in both splits: a model that learned one by heart has seen the other.

MinHash (Broder 1997) with locality-sensitive hashing, from datasketch: the benchmark's texts are indexed, the training
texts are looked up one at a time, and every candidate is verified by the exact Jaccard similarity of the two texts' sets
of three-word shingles. So a reported pair is a true one; the hashing only decides which pairs are looked at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from personamem_pipeline.questions.facts import Text
from personamem_pipeline.questions.findings import Finding

WORDS = 3
"""Words in a shingle."""
LEAST_SHINGLES = 27
"""A text with fewer is not compared. One word changed in the middle of n shingles changes 3 of them, which leaves
(n - 3) / (n + 3) of the union in common: 0.8 from n = 27 on. Shorter texts are all alike (a request to fill in a form, an
option of four words): of those only the combination of query and preference, and the turns that reveal, must not be in
both splits, which `findings` checks exactly."""
PERMUTATIONS = 128
"""Hash values in a sketch: about 6 kB for each indexed text, with the index."""
SEED = 1
MISSED = 1e-3
"""Share of pairs exactly at the threshold that may be missed; more alike ones are missed less."""
REPORTED = 50
EXCERPT = 120
_WORD = re.compile(r"\w+")


class NearDuplicates:
    """An index of the benchmark's texts that training texts are looked up in."""

    def __init__(self, threshold: float | None) -> None:
        self._on = threshold is not None
        self._threshold = threshold or 1.0
        self._hashing: _Hashing | None = None
        self._texts: list[Text] = []
        self._pairs: list[tuple[float, str, str, str]] = []
        self._compared = self._short = 0

    def add(self, texts: Iterable[Text]) -> None:
        """Index texts of the benchmark."""
        for text in texts if self._on else ():
            found = shingles(text.text)
            if len(found) < LEAST_SHINGLES:
                self._short += 1
            else:
                self._hashing = self._hashing or _Hashing(self._threshold)
                self._hashing.insert(len(self._texts), found)
                self._texts.append(text)

    def look_up(self, texts: Iterable[Text]) -> None:
        """Compare texts of the training split with all that were indexed, and keep each one's nearest."""
        for text in texts if self._on else ():
            found = shingles(text.text)
            if len(found) < LEAST_SHINGLES:
                self._short += 1
                continue
            self._compared += 1
            candidates = [self._texts[place] for place in self._hashing.query(found)] if self._hashing else []
            alike = [(jaccard(found, shingles(other.text)), other.name) for other in candidates]
            near = [(-similarity, name) for similarity, name in alike if similarity >= self._threshold]
            if near:
                similarity, name = min(near)
                self._pairs.append((similarity, text.name, name, text.text[:EXCERPT]))

    def finding(self) -> Finding:
        """No text of the training split is nearly one of the benchmark's."""
        listed = [
            f"{name} ~ {other} ({-similarity:.2f}): {start}" for similarity, name, other, start in sorted(self._pairs)
        ]
        facts: dict[str, Any] = {"compared": self._said()}
        facts |= {
            "benchmark_texts": len(self._texts),
            "training_texts": self._compared,
            "too_short_to_compare": self._short,
            "threshold": self._threshold if self._on else None,
            "near_duplicates": len(listed),
            "nearest": listed[:REPORTED],
        }
        return Finding(name="no near duplicates", passed=not listed, facts=facts)

    def _said(self) -> str:
        """In words whether the check says anything, so that an empty one is not taken for a passed one."""
        if not self._on:
            return "not applicable: data.questions.near_duplicate is null"
        if not self._texts or not self._compared:
            return f"not applicable: no text of {LEAST_SHINGLES + WORDS - 1} words or more in both splits"
        return "yes"


class _Hashing:
    """datasketch's index, made when the first text is long enough to need it: importing it (it imports scipy) takes
    seconds."""

    def __init__(self, threshold: float) -> None:
        from datasketch import MinHash, MinHashLSH

        bands, rows = banding(threshold)
        self._index = MinHashLSH(num_perm=bands * rows, params=(bands, rows))
        self._empty = MinHash(num_perm=bands * rows, seed=SEED)

    def insert(self, place: int, found: frozenset[str]) -> None:
        self._index.insert(place, self._sketch(found))

    def query(self, found: frozenset[str]) -> list[int]:
        return list(self._index.query(self._sketch(found)))

    def _sketch(self, found: frozenset[str]) -> Any:
        sketch = self._empty.copy()
        sketch.update_batch([shingle.encode() for shingle in found])
        return sketch


@lru_cache(maxsize=256)
def shingles(text: str) -> frozenset[str]:
    """The set of all runs of `WORDS` words, without case and punctuation."""
    words = _WORD.findall(text.casefold())
    return frozenset(" ".join(words[start : start + WORDS]) for start in range(len(words) - WORDS + 1))


def jaccard(one: frozenset[str], two: frozenset[str]) -> float:
    """|A ∩ B| / |A ∪ B|; of two empty sets 0."""
    both = len(one & two)
    return both / (len(one) + len(two) - both) if both else 0.0


def banding(threshold: float) -> tuple[int, int]:
    """(bands, rows) of at most `PERMUTATIONS` values: the longest rows with which a pair at the threshold is missed with
    a chance of at most `MISSED`. Two sketches agree in a row of r values with chance s^r, and in none of b bands with
    (1 - s^r)^b (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, section 3.4)."""
    for rows in range(PERMUTATIONS, 1, -1):
        bands = PERMUTATIONS // rows
        if bands * math.log1p(-min(threshold**rows, 1 - 1e-12)) <= math.log(MISSED):
            return bands, rows
    return PERMUTATIONS, 1
