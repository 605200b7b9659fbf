from __future__ import annotations

import difflib

import pytest

from personamem_pipeline.settings import Compute
from tests.snapshot import SNAPSHOTS, WORLDS, taken, text


@pytest.mark.parametrize("world", WORLDS)
def test_the_definitions_are_those_of_the_last_review(world: Compute) -> None:
    kept, now = (SNAPSHOTS / f"{world}.json").read_text(), text(taken(world))
    lines = difflib.unified_diff(kept.splitlines(), now.splitlines(), "tests/snapshots", "now", lineterm="", n=1)
    assert kept == now, "the graph changed; if it was meant, `make snapshot` and commit:\n" + "\n".join(lines)
