"""One pod's life, from its creation to its removal, with everything that may go wrong on the way.

Own, and no subclass of `dagster_k8s.PipesK8sClient`, because that client's faults are in the flow itself and not in a call
that could be overridden: it fails a pod that queued for 5 hours, waits a day for one that fits nowhere, names pods at
random, so that a lost answer leaves one behind, follows the log where it should watch the pod, and deletes a training whose
log stream broke six times. What is used of Dagster is `open_pipes_session` and its message handler, which are made for this.

Here one loop looks at the pod and at its log every two seconds. There are no threads and no open streams, so nothing can
hang, and an interrupt finds the loop asleep. What a broken answer leaves out, the next one brings (`log`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from logging import Logger

from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._utils.interrupts import capture_interrupts, check_captured_interrupt

from personamem_pipeline.errors import UserError
from resources.pods.api import Away, Conflict, PodApi, QuotaFull
from resources.pods.ending import see_gone
from resources.pods.log import PodLog
from resources.pods.manifest import Json
from resources.pods.messages import PodMessages
from resources.pods.status import Ended, Leaving, Waiting, state, vanished
from resources.pods.telling import Teller, described
from resources.pods.template import PodTemplate

QUIET_READS = 3
"""So often an ended pod's log must bring nothing new before it counts as read without the stage's last message."""
ONE_SECOND = 1.2
"""After so long no further pod gets this one's creation time, which the API tells to the second."""
QUOTA_POLLS = 10
"""A full quota is looked at this much less often than a pod."""
FINAL_PATIENCE = 30.0
"""Seconds for what is not worth more: the log of a failure, the removal of a pod that has ended."""


class NeverStarted(Exception):
    """The pod waited for longer than the template allows."""

    def __init__(self, name: str, waiting: Waiting, seconds: float, warning: str) -> None:
        super().__init__(f"pod {name} did not start in {seconds:.0f} s: {waiting.why}")
        self.waiting, self.warning = waiting, warning


class PodRun:
    """Runs one pod."""

    def __init__(
        self,
        api: PodApi,
        manifest: Json,
        template: PodTemplate,
        messages: PodMessages,
        log: Logger,
        *,
        poll: float = 2.0,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`check` raises where the pod, which is there by then, must not go on; it is called twice."""
        self._api, self._manifest, self._template = api, manifest, template
        self._messages, self._log, self._poll, self._check = messages, log, poll, check
        self.name: str = manifest["metadata"]["name"]
        self._last: Json | None = None
        self._words = PodLog(api, self.name, messages.take)
        self._teller = Teller(api, self.name, log)
        self._lost = False

    def run(self) -> Ended:
        """Create the pod, see it through, remove it, and return how it ended.

        Whatever ends this call otherwise, an interrupt included, ends the pod first: SIGTERM, its grace period, and gone.

        Raises:
            NeverStarted: it waited for too long.
            Away: the API server was, for longer than we wait.
            Conflict: its name is taken.
            UserError: the API server refuses it, or its log.
        """
        ended: Ended | None = None
        ours = True
        try:
            self._create()
            ended = self._watch()
            return ended
        except Conflict:
            ours = False
            raise
        finally:
            if ours:
                self._remove(over=ended is not None and not self._lost)

    def _create(self) -> None:
        began = time.monotonic()
        while True:
            try:
                self._api.create(self._manifest)
            except QuotaFull as error:
                waiting, passed = Waiting("quota", str(error)), time.monotonic() - began
                self._teller.tell(waiting, passed)
                if passed > self._patience(waiting):
                    raise NeverStarted(self.name, waiting, passed, "") from error
                time.sleep(QUOTA_POLLS * self._poll)
            else:
                self._log.info(f"created pod {self.name} in namespace {self._api.namespace}")
                return self._check()

    def _watch(self) -> Ended:
        since, key = time.monotonic(), ""
        check_at = since + ONE_SECOND
        while True:
            pod = self._api.read(self.name)
            if pod is None:
                return vanished(self._last, self._teller.events())
            self._last = pod
            found = state(pod)
            if isinstance(found, Ended):
                if found.code is not None:
                    self._read_to_the_end(found)
                return found
            if (what := described(self.name, found)[0]) != key:
                since, key = time.monotonic(), what
            passed = time.monotonic() - since
            self._teller.tell(found, passed)
            if isinstance(found, Waiting) and passed > self._patience(found):
                raise NeverStarted(self.name, found, passed, self._teller.last_warning())
            if isinstance(found, Leaving) and passed > self._template.grace_seconds + self._template.lost_after_seconds:
                self._lost = True
                return Ended(None, "NodeLost", f"it was to end ({found.why}), and its node does not say so", taken=True)
            if not isinstance(found, Waiting):
                self._words.follow()
            if time.monotonic() > check_at:
                self._check()
                check_at = math.inf
            time.sleep(self._poll)

    def _patience(self, waiting: Waiting) -> float:
        return {
            "quota": self._template.schedule_patience_seconds,
            "unseen": self._template.schedule_patience_seconds,
            "gated": self._template.schedule_patience_seconds,
            "queued": self._template.schedule_patience_seconds,
            "mismatch": self._template.mismatch_patience_seconds,
            "starting": self._template.start_patience_seconds,
            "pulling": self._template.pull_patience_seconds,
        }[waiting.kind]

    def _read_to_the_end(self, ended: Ended) -> None:
        """The rest of an ended pod's log. That of a success holds the stage's report, so it is worth all our patience."""
        quiet, end = 0, time.monotonic() + (self._api.patience if ended.code == 0 else FINAL_PATIENCE)
        while True:
            count = self._words.follow()
            quiet = quiet + 1 if count == 0 else 0
            if quiet and (self._messages.closed or quiet >= QUIET_READS):
                return
            if time.monotonic() > end:
                self._log.warning(f"the log of pod {self.name} could not be read to its end")
                return
            if not count:
                time.sleep(self._poll)

    def _remove(self, *, over: bool) -> None:
        """Delete the pod; unless it is over, wait until it is gone.

        Interrupts are held back until the API server has taken the wish, so that a second Ctrl-C leaves no pod behind. One
        that came meanwhile is raised after it.
        """
        cancelled = False
        try:
            with capture_interrupts():
                try:
                    patience = FINAL_PATIENCE if over else None
                    self._api.delete(self.name, grace=0 if self._lost else None, patience=patience)
                finally:
                    cancelled = check_captured_interrupt()  # the block's end forgets it
            if not over:
                self._see_off()
        except (Away, UserError) as error:  # what is being raised, or returned, matters more
            self._log.error(
                f"pod {self.name} could not be removed: {error}\n"
                f"  to do:    kubectl -n {self._api.namespace} delete pod {self.name}"
            )
        if cancelled:
            raise DagsterExecutionInterruptedError

    def _see_off(self) -> None:
        """Wait for the pod's end, passing its last words on."""
        self._log.info(f"waiting for the end of pod {self.name}, for up to {self._template.grace_seconds} s")

        def listen() -> None:
            if not self._words.refused:
                self._words.follow()

        doubtful = self._last is None
        if not see_gone(
            self._api,
            self.name,
            self._template,
            poll=self._poll,
            struck=self._lost,
            doubtful=doubtful,
            meanwhile=listen,
        ):
            self._log.error(f"pod {self.name} still stands there after it was deleted by force")
