"""What the end of a pod means to a person, and whether a new pod may do better. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from resources.compute import LAST_WORDS, stage_failure
from resources.pods.client import NeverStarted
from resources.pods.status import DEADLINE, LOG_LOST, OUT_OF_MEMORY, Ended, Kind
from resources.pods.template import PodTemplate

SHOWN = 40_000
"""Characters of log in a failure's metadata, where it stays for ever: the 200 lines that are kept (`messages`), unless they
are longer than 200 characters each."""
REMEDIES: dict[Kind, str] = {
    "quota": "wait for the namespace's other pods, or have its quota raised (kubectl describe resourcequota); or raise "
    "schedule_patience_seconds",
    "unseen": "see whether the cluster has a scheduler (kubectl -n kube-system get pods)",
    "gated": "look at the queue (kubectl get workloads), or raise schedule_patience_seconds",
    "queued": "wait for GPUs to become free, or raise schedule_patience_seconds",
    "mismatch": "correct node_selector, tolerations or artifacts in the pod template; where an autoscaler makes nodes on "
    "demand, raise mismatch_patience_seconds",
    "starting": "look at its events (kubectl describe pod); raise start_patience_seconds if the image is that large",
    "pulling": "correct image, image_pull_secrets or env_from_secrets in the pod template",
}


class TryAgain(dg.RetryRequested):
    """The cluster took the pod away; a new one goes on from the last saved step.

    Not a `RetryPolicy` of the assets: that would also try again what a person has cancelled, and what crashes by itself.
    """

    def __init__(self, words: str, template: PodTemplate) -> None:
        super().__init__(template.retries, template.retry_delay_seconds)
        self.args = (words,)


def pod_failure(module: str, name: str, ended: Ended, template: PodTemplate, lines: Sequence[str]) -> dg.Failure:
    """Why a stage's pod did not succeed; `allow_retries` says whether a new pod may."""
    words = "\n".join(lines) or ended.message
    last = "\n".join(words.split("\n")[-LAST_WORDS:])
    told = f"{ended.reason}: {ended.message}" if ended.message else ended.reason
    if ended.reason == DEADLINE:
        why = f"{module} ran past its deadline of {template.deadline_seconds} s (deadline_seconds of the pod template)"
        what, again = f"{why}; the next run resumes from its last saved step\n{last}", False
    elif ended.reason == OUT_OF_MEMORY:
        why = f"{module} ran out of memory (the pod template gives it {template.memory}, /dev/shm included)"
        what, again = f"{why}; it resumes from its last saved step\n{last}", True
    elif ended.reason == LOG_LOST:
        what, again = f"{module} ended well, and {ended.message}; a new pod reports again\n{last}", True
    elif ended.taken or ended.code is None:
        what, again = f"the cluster took the pod of {module} away ({told}); a new one resumes\n{last}", True
    else:
        failure = stage_failure(module, ended.code, last)
        what, again = str(failure.description), failure.allow_retries and ended.code > 128
    return dg.Failure(
        what.rstrip(),
        metadata={
            "pod": name,
            "reason": told,
            "exit_code": -1 if ended.code is None else ended.code,
            "last_lines": dg.MetadataValue.text(words[-SHOWN:]),
        },
        allow_retries=again,
    )


def run_over(module: str) -> dg.Failure:
    """The run was ended while its worker lived on: by run monitoring, or by somebody."""
    return dg.Failure(f"{module}: the run is over, so there is no new pod for it", allow_retries=False)


def never_started(module: str, error: NeverStarted) -> dg.Failure:
    """A pod that waited for too long, and what to do about it."""
    more = f"\n{error.warning}" if error.warning and error.waiting.why not in error.warning else ""
    return dg.Failure(
        f"{module} was not started\n{error}{more}\n  to do:    {REMEDIES[error.waiting.kind]}", allow_retries=False
    )
