"""Other pods that do the same work: what a killed worker left, or a run that somebody started at the same time.

Two pods over one scratch directory would undo each other's steps. So the first pod of a run has the others ended, with their
time to save, and goes on from what they saved. A later attempt gives way instead: its own pod may have been ended for the
other's sake, and two runs that take turns would come to nothing. Where steps go with their pod, nobody's is ended.

All this is among runs that live. A pod whose run is over, as a killed worker leaves it, is waited for by nobody, and always
ended.

Looking first and creating then leaves a moment for another run to do the same. So one looks again after creating, and of
those who are there by then, the oldest stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from personamem_pipeline.errors import UserError
from personamem_pipeline.seeds import digest
from personamem_pipeline.stage_job import StageJob
from resources.pods.api import PodApi
from resources.pods.ending import see_gone
from resources.pods.manifest import RUN, Json
from resources.pods.status import Ended, Leaving, state
from resources.pods.template import PodTemplate

WORK = "personamem/work"
"""Label: which scratch directory the pod works in."""


def work_of(job: StageJob) -> str:
    """Names the directory of a job's resumable steps: the same for the same work over the same store, else another."""
    return digest([job.store, job.scratch or job.scratch_name])[:32]


@dataclass(frozen=True)
class Attempt:
    """One attempt of a run at a piece of work."""

    api: PodApi
    name: str
    """Of its pod."""
    work: str
    run_id: str
    retry: int
    template: PodTemplate
    steps_last: bool
    """Whether steps outlive the pod that made them."""
    nobody_waits_for: Callable[[Json], bool]
    """Whether a pod is known to be that of a run which is over."""
    warn: Callable[[str], None]
    poll: float

    def make_way(self) -> None:
        """Return when no other pod does this work.

        Raises:
            UserError: another run does it and may not be ended, because its steps would be lost or this is a later
                attempt; or it cannot be, because its node does not answer.
        """
        others = [pod for pod in self._at_work() if _name(pod) != self.name]
        for pod in others:
            if self._of_another_run(pod) and not isinstance(state(pod), Leaving) and not self.nobody_waits_for(pod):
                self._may_end(pod)
        for pod in others:
            if not pod["metadata"].get("deletionTimestamp"):
                self.warn(f"{_told(pod)} does the same work: ending it, to go on from the step that it saved")
                self.api.delete(_name(pod))
        for pod in others:
            name = _name(pod)
            if not see_gone(self.api, name, self.template, poll=self.poll):
                raise UserError(
                    "a pod that does the same work cannot be ended",
                    where=_told(pod),
                    remedy=f"kubectl -n {self.api.namespace} delete pod {name} --force",
                )

    def check_alone(self) -> None:
        """Raise `UserError` if another run's pod has been at this work for longer than this attempt's, which exists."""
        there = self._at_work()
        own = [pod for pod in there if _name(pod) == self.name]
        for pod in there:
            if own and self._of_another_run(pod) and _age(pod) < _age(own[0]) and not self.nobody_waits_for(pod):
                raise UserError(
                    "another run began this work at the same time",
                    where=_told(pod),
                    remedy="wait for that run; this one has given way to it",
                )

    def _at_work(self) -> list[Json]:
        """The pods of this work: of other runs those that have not ended (of what has, the report may yet be read)."""
        pods = self.api.pods(f"{WORK}={self.work}")
        return [pod for pod in pods if not (self._of_another_run(pod) and isinstance(state(pod), Ended))]

    def _of_another_run(self, pod: Json) -> bool:
        return bool(pod["metadata"]["labels"].get(RUN) != self.run_id)

    def _may_end(self, pod: Json) -> None:
        if self.retry > 0:
            raise UserError(
                "another run does this work by now",
                where=_told(pod),
                remedy="wait for that run; this one has given way to it",
            )
        if not self.steps_last:
            raise UserError(
                "another run does this work, and its steps would go with its pod",
                where=_told(pod),
                remedy="wait for that run, or cancel it; or give `scratch` in the pod template a claim",
            )


def _name(pod: Json) -> str:
    return str(pod["metadata"]["name"])


def _told(pod: Json) -> str:
    return f"pod {_name(pod)} of run {pod['metadata']['labels'].get(RUN)}"


def _age(pod: Json) -> tuple[str, str]:
    """Orders pods from the oldest on; the API tells the second, so names decide between those of one."""
    return str(pod["metadata"]["creationTimestamp"]), _name(pod)
