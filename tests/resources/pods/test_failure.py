"""What a failure shows of the log."""

from __future__ import annotations

import pytest

from personamem_pipeline.settings import POD_TEMPLATE
from resources.pods.failure import SHOWN, pod_failure
from resources.pods.messages import LAST_LINES
from resources.pods.status import Ended
from resources.pods.template import load_template


@pytest.mark.parametrize(("length", "first"), [(160, True), (400, False)])
def test_two_hundred_lines_of_usual_length_are_shown(length: int, first: bool) -> None:
    lines = [f"line {number} ".ljust(length, ".") for number in range(LAST_LINES)]
    failure = pod_failure("a.stage", "pod", Ended(1, "Error", "", taken=False), load_template(POD_TEMPLATE), lines)
    shown = str(failure.metadata["last_lines"].value)
    assert ("line 0 " in shown) is first
    assert f"line {LAST_LINES - 1} " in shown and len(shown) <= SHOWN
