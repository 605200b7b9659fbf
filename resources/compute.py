"""Where a GPU stage runs. An asset knows the command and the job, never the machine.

A stage is `python -m <module>`, or a launcher of several such processes (`personamem_pipeline.launch`); it gets its
`StageJob` as Pipes extras and must report its materialization through Pipes. A process that ends well and reported nothing
has *not* materialized anything, so Dagster's habit of inventing a materialization for it is switched off.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from signal import SIGTERM
from subprocess import PIPE, Popen, TimeoutExpired
from typing import IO

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from pydantic import Field

from personamem_pipeline.launch import processes_of, stage_command
from personamem_pipeline.progress import STARTER
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.stage import INTERRUPTED, REFUSED
from personamem_pipeline.stage_job import StageJob

LAST_WORDS = 40
TO_END = 15.0
"""Seconds beyond the grace period that the launcher of several processes has to end those that did not save in it."""
TUNING = {
    "OMP_NUM_THREADS": "2",  # a fixed number, since sums over more threads round otherwise and change the digest
    # glibc gives each freed block over 128 kB back to the kernel; a training step on CPU then spends a third of its time
    # on page faults. These keep up to 4 GiB for the next step.
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}
"""Environment of a stage on this machine, where the caller's own says nothing."""


class Compute(dg.ConfigurableResource, ABC):
    """Runs a stage's command and brings back what it reported."""

    @abstractmethod
    def run(self, context: dg.AssetExecutionContext, module: str, job: StageJob) -> dg.MaterializeResult:
        """Run `python -m module` on `job`; raises `dagster.Failure` unless it reported one materialization."""


class LocalProcess(Compute):
    """The stage is a process of this machine, with this interpreter and this environment (OMP_NUM_THREADS included).

    It does what `dagster.PipesSubprocessClient` does over the same temporary files, but keeps the exit code and the
    last lines of stderr, because those tell a person why a stage refused, and sends SIGTERM with a grace period of its
    own (that client waits 20 s, which is less than writing a checkpoint may take).
    """

    grace_seconds: float = Field(default=120.0, gt=0, description="time to save between SIGTERM and SIGKILL")
    env: dict[str, str] = Field(default_factory=dict, description="variables added to the inherited environment")

    def run(self, context: dg.AssetExecutionContext, module: str, job: StageJob) -> dg.MaterializeResult:
        processes = processes_of(job.stage, job.preset)
        command = stage_command(module, processes, python=sys.executable, grace=self.grace_seconds)
        patience = self.grace_seconds + (TO_END if processes > 1 else 0)
        with (
            warnings.catch_warnings(action="ignore", category=dg.PreviewWarning),  # about Pipes' own internals
            dg.open_pipes_session(
                context=context,
                context_injector=dg.PipesTempFileContextInjector(),
                message_reader=dg.PipesTempFileMessageReader(),
                extras={"job": job.model_dump(mode="json")},
            ) as session,
        ):
            env = {**TUNING, **os.environ, **self.env, STARTER: str(os.getpid()), **session.get_bootstrap_env_vars()}
            code, words = self._wait(command, env, patience)
        if code != 0:
            raise stage_failure(module, code, words)
        return one_materialization(module, session)

    def _wait(self, command: list[str], env: Mapping[str, str], patience: float) -> tuple[int, str]:
        process = Popen(command, cwd=PROJECT, env=env, stderr=PIPE, text=True, errors="replace")
        assert process.stderr is not None
        last: deque[str] = deque(maxlen=LAST_WORDS)
        tee = threading.Thread(target=_tee, args=(process.stderr, last), daemon=True)
        tee.start()
        try:
            process.wait()
        except (DagsterExecutionInterruptedError, KeyboardInterrupt):
            process.send_signal(SIGTERM)
            try:
                process.wait(timeout=patience)
            except TimeoutExpired:
                process.kill()
                process.wait()
            raise
        tee.join(timeout=5)
        return process.returncode, "".join(last).strip()


def one_materialization(module: str, session: dg.PipesSession) -> dg.MaterializeResult:
    """What a stage that ended well has reported; a `dagster.Failure` unless it is one materialization."""
    reported = session.get_results(implicit_materializations=False)
    results = [result for result in reported if isinstance(result, dg.MaterializeResult)]
    if len(results) != 1:
        raise dg.Failure(
            f"{module} ended with code 0 but reported {len(results)} materializations instead of one; "
            "nothing was recorded. The stage must end through personamem_pipeline.stage.run_stage.",
            allow_retries=False,
        )
    return results[0]


def stage_failure(module: str, code: int, words: str) -> dg.Failure:
    """What a stage's exit code means, with its last words."""
    if code == REFUSED:
        why, retry = f"{module} refused its input", False
        words = words[max(0, f"\n{words}".rfind("\nerror: ")) :]  # warnings of libraries may stand before it
    elif code == INTERRUPTED:
        why, retry = f"{module} was stopped and saved its work; the next run resumes from there", False
    elif code < 0 or code > 128:  # the process itself, or one of the launcher's
        number = -code if code < 0 else code - 128
        why, retry = f"{module} was killed by signal {number}; the next run resumes from its last saved step", True
    else:
        why, retry = f"{module} failed with exit code {code}", True
    return dg.Failure(
        f"{why}\n{words}" if words else why,
        metadata={"exit_code": code, "last_lines": dg.MetadataValue.text(words[-8000:])},
        allow_retries=retry,
    )


def _tee(stream: IO[str], last: deque[str]) -> None:
    for line in stream:
        last.append(line)
        sys.stderr.write(line)
        sys.stderr.flush()
