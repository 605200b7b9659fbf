"""Pods that do the same work for another run: what a killed worker left, or a run that somebody started at the same time.

Two pods over one scratch directory would undo each other's steps. So the first pod of a run has the others ended, with their
time to save, and goes on from what they saved. A later attempt gives way instead: its own pod may have been ended for the
other's sake, and two runs that take turns would come to nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from personamem_pipeline.errors import UserError
from personamem_pipeline.seeds import digest
from personamem_pipeline.stage import StageJob
from resources.pods.api import PodApi
from resources.pods.manifest import RUN
from resources.pods.template import PodTemplate

WORK = "personamem/work"
"""Label: which scratch directory the pod works in."""
FORCED = 30.0
"""Seconds that a pod may still stand there after it was struck off."""


def work_of(job: StageJob) -> str:
    """Names the directory of a job's resumable steps: the same for the same work over the same store, else another."""
    return digest([job.store, job.scratch or job.scratch_name])[:32]


def make_way(
    api: PodApi, name: str, work: str, template: PodTemplate, *, retry: int, warn: Callable[[str], None], poll: float
) -> None:
    """Return when no pod but `name` does this work.

    Raises:
        UserError: this is a later attempt and another run does the work by now, or its pod cannot be ended.
    """
    others = [pod for pod in api.pods(f"{WORK}={work}") if pod["metadata"]["name"] != name]
    for pod in others:
        other, run = pod["metadata"]["name"], pod["metadata"]["labels"].get(RUN)
        if retry > 0 and not pod["metadata"].get("deletionTimestamp"):
            raise UserError(
                "another run does this work by now",
                where=f"pod {other} of run {run}",
                remedy="wait for that run; this one has given way to it",
            )
        warn(f"pod {other} of run {run} does the same work: ending it, to go on from the step that it saves")
        api.delete(other)
    for pod in others:
        _see_gone(api, pod["metadata"]["name"], template, poll)


def _see_gone(api: PodApi, name: str, template: PodTemplate, poll: float) -> None:
    """Wait for a pod's end; a pod whose node does not end it is struck off."""
    end, forced = time.monotonic() + template.grace_seconds + template.lost_after_seconds, False
    while api.read(name) is not None:
        if time.monotonic() > end:
            if forced:
                problem = "a pod that does the same work cannot be ended"
                raise UserError(problem, where=name, remedy=f"kubectl -n {api.namespace} delete pod {name} --force")
            forced, end = True, time.monotonic() + FORCED
            api.delete(name, grace=0)
        time.sleep(poll)
