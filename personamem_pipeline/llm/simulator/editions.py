"""What the simulator's authors share: editions, held-out ways of asking, made-up private values.

Training and benchmark are two *editions* that never share a combination: which (sentence, cue) and (question,
preference) pairs are the benchmark's is decided by a stable hash, so that a model cannot score there by remembering a
training row.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from personamem_pipeline.llm.simulator.world import world
from personamem_pipeline.seeds import stable_int

BENCHMARK_SHARE = 0.25


def in_edition(pairs: Sequence[tuple[str, str]], edition: str) -> list[tuple[str, str]]:
    """The combinations that belong to this edition: a quarter, at least one, is the benchmark's, the rest training."""
    ordered = sorted(pairs, key=lambda pair: stable_int("edition", *pair))
    held_out = max(1, round(len(ordered) * BENCHMARK_SHARE))
    return ordered[:held_out] if edition == "benchmark" else ordered[held_out:]


def private_value(rng: random.Random) -> str:
    """A made-up private value such as `K44-718`; it means nothing anywhere."""
    return f"{rng.choice('BCDFGHJKLMNPQRSTVWXZ')}{rng.randrange(10, 100)}-{rng.randrange(100, 1000)}"


def queries(topic: str, preference: str, edition: str) -> list[str]:
    """How the topic may be asked about: one way per preference is the benchmark's, the others are training's."""
    known = world().topic(topic).queries
    held_out = stable_int("held-out query", preference) % len(known)
    return [query for i, query in enumerate(known) if (i == held_out) == (edition == "benchmark")]
