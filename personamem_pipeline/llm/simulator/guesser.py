"""A second simulated reader, `guesser/1`: it never reads the turns and picks an option by its shape.

A certificate's blind test is only as good as its blind readers. `simulator/1` knows the world and guesses fairly when it
sees no turns; this one stands for a model that has learned what right options look like: the one that shares the fewest
words with the others. Where none stands out it guesses by its seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

Json = Mapping[str, Any]
MODEL = "guesser/1"


def choice(brief: Json, rng: random.Random) -> dict[str, Any]:
    """The odd one out of the options."""
    words = {letter: set(str(text).casefold().split()) for letter, text in sorted(brief["options"].items())}
    shared = {
        letter: sum(
            len(own & other) / max(1, min(len(own), len(other))) for key, other in words.items() if key != letter
        )
        for letter, own in words.items()
    }
    least = min(shared.values())
    rng.random()  # one draw aside: the same request has the same seed for both models, and they are not to guess alike
    return {"answer": rng.choice([letter for letter, value in shared.items() if value <= least + 1e-9])}


TASKS: dict[str, Callable[[Json, random.Random], dict[str, Any]]] = {"choice": choice}
