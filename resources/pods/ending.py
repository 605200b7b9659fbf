"""Waiting until a pod that was asked to end is gone."""

from __future__ import annotations

import time
from collections.abc import Callable

from resources.pods.api import PodApi
from resources.pods.template import PodTemplate

FORCED = 30.0
"""Seconds that a pod may still stand there after it was struck off."""


def see_gone(
    api: PodApi,
    name: str,
    template: PodTemplate,
    *,
    poll: float,
    struck: bool = False,
    doubtful: bool = False,
    meanwhile: Callable[[], object] = lambda: None,
) -> bool:
    """Wait for a pod's end; one whose node does not end it in time is struck off by force.

    Args:
        api: the pod's namespace.
        name: of the pod, which was deleted.
        template: says how much time it has.
        poll: seconds between two looks.
        struck: whether it was struck off before.
        doubtful: its creation was never confirmed, and may be carried out only now; so gone is what is gone twice.
        meanwhile: done after each look that still finds it.

    Returns:
        Whether it is gone.
    """
    end = time.monotonic() + (FORCED if struck else template.grace_seconds + template.lost_after_seconds)
    while True:
        if api.read(name) is None:
            if not doubtful:
                return True
            time.sleep(min(poll, 1.0))
            if api.read(name) is None:
                return True
            api.delete(name)
        if time.monotonic() > end:
            if struck:
                return False
            struck, end = True, time.monotonic() + FORCED
            api.delete(name, grace=0)
        meanwhile()
        time.sleep(min(poll, 0.5))
