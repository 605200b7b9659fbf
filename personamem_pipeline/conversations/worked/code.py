"""Questions about small Python functions, for the built-in padding pool: code, why it works, and what it returns.

What is claimed about a function is computed by the same function here, so the answers are right.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class _Task:
    """A function to ask for. `{n}` in the texts is a number that the request brings, `{f}` the function's name."""

    verb: str
    wanted: str
    code: str
    reason: str
    example: Callable[[list[int], int], Any]


_TASKS = (
    _Task(
        "above",
        "counts how many values of a list are greater than {n}",
        "def {f}(values):\n    return sum(value > {n} for value in values)",
        "A comparison is True or False, which Python adds as 1 or 0, so the sum is the count. No list is built in between.",
        lambda values, n: sum(value > n for value in values),
    ),
    _Task(
        "window",
        "returns the sums of every {n} neighbouring values of a list",
        "def {f}(values):\n    sums, current = [], sum(values[:{n}])\n    for i in range({n}, len(values) + 1):\n"
        "        sums.append(current)\n        if i < len(values):\n            current += values[i] - values[i - {n}]\n"
        "    return sums",
        "The window moves on by one place: one value enters, one leaves. So each step costs the same, however wide the"
        " window is.",
        lambda values, n: [sum(values[i : i + n]) for i in range(len(values) - n + 1)],
    ),
    _Task(
        "chunks",
        "cuts a list into pieces of {n} values, the last of which may be shorter",
        "def {f}(values):\n    return [values[i : i + {n}] for i in range(0, len(values), {n})]",
        "The range counts the beginnings of the pieces, and a slice that reaches beyond the end simply stops there, so the"
        " last piece needs no special case.",
        lambda values, n: [values[i : i + n] for i in range(0, len(values), n)],
    ),
    _Task(
        "largest",
        "returns the {n} largest different values of a list, the largest first",
        "def {f}(values):\n    return sorted(set(values), reverse=True)[:{n}]",
        "The set removes what occurs twice, sorting in reverse puts the largest first, and the slice keeps what is asked"
        " for. For very long lists heapq.nlargest is the better tool.",
        lambda values, n: sorted(set(values), reverse=True)[:n],
    ),
    _Task(
        "rotate",
        "moves every value of a list {n} places to the left, with those in front going to the end",
        "def {f}(values):\n    if not values:\n        return []\n    cut = {n} % len(values)\n"
        "    return values[cut:] + values[:cut]",
        "The remainder makes it work for lists that are shorter than the shift, and the empty list is answered first since"
        " a remainder by zero does not exist.",
        lambda values, n: values[n % len(values) :] + values[: n % len(values)],
    ),
    _Task(
        "remainders",
        "groups the values of a list by their remainder modulo {n}",
        "def {f}(values):\n    groups = {{}}\n    for value in values:\n"
        "        groups.setdefault(value % {n}, []).append(value)\n    return groups",
        "setdefault returns the list that is there or puts an empty one in its place, so no group has to be prepared. The"
        " groups come in the order in which their first value was met.",
        lambda values, n: {k: [v for v in values if v % n == k] for k in dict.fromkeys(v % n for v in values)},
    ),
    _Task(
        "gaps",
        "finds the neighbours in a list that differ by more than {n}",
        "def {f}(values):\n    pairs = zip(values, values[1:])\n"
        "    return [(a, b) for a, b in pairs if abs(a - b) > {n}]",
        "Zipping a list with itself from the second value on gives all neighbours, and zip stops with the shorter of the"
        " two, so nothing runs over the end.",
        lambda values, n: [(a, b) for a, b in pairwise(values) if abs(a - b) > n],
    ),
    _Task(
        "clip",
        "replaces every value of a list above {n} by {n} and says how many were replaced",
        "def {f}(values):\n    clipped = [min(value, {n}) for value in values]\n"
        "    return clipped, sum(a != b for a, b in zip(values, clipped))",
        "min keeps small values and cuts large ones, and comparing the two lists place by place shows what has changed"
        " without a counter in the loop.",
        lambda values, n: ([min(v, n) for v in values], sum(v > n for v in values)),
    ),
)


def code_question(name: str, draw: random.Random) -> tuple[str, str]:
    """(a request for a function, the function with an explanation and an example)."""
    task = draw.choice(_TASKS)
    wide = task.verb in ("above", "gaps", "clip")
    n = draw.randint(12, 88) if wide else draw.randint(2, 5)
    values = [draw.randint(1, 99) for _ in range(draw.randint(7, 10))]
    function = f"{task.verb}_{name.lower()}"
    wanted = task.wanted.format(n=n)
    code = task.code.format(f=function, n=n)
    return (
        f"For the project {name} I need a Python function that {wanted}. The list can be empty. Please explain how it"
        f" works, and tell me what comes out for {values}.",
        f"```python\n{code}\n```\n\nIn words, for {name}: it {wanted}. {task.reason}\n\nFor your list, {function}({values})"
        f" returns {task.example(values, n)}. An empty list gives the empty result, as it should.",
    )
