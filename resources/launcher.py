"""Starts runs as Jobs, and does not take an API server that is away for a run worker that is dead.

Dagster's daemon asks the launcher once a minute how each run's worker is, and fails a run whose worker is not known to live.
`K8sRunLauncher` answers UNKNOWN where the Job is gone, and UNKNOWN where it could not be asked for: seconds of outage, as of
every upgrade of a control plane, would fail every run, and then begin them anew beside their living workers.

Named in docker/dagster/production.yaml and docker/helm/values.yaml; whoever loads that instance needs this module (daemon,
webserver, code server, run workers: all of the orchestrator's image). Nobody else imports it, so it may import dagster_k8s.
"""

from __future__ import annotations

import logging

from dagster import DagsterRun
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_k8s import K8sRunLauncher  # noqa: TID253
from dagster_k8s.client import DagsterK8sAPIRetryLimitExceeded, DagsterK8sUnrecoverableAPIError  # noqa: TID253
from dagster_k8s.job import get_job_name_from_run_id  # noqa: TID253
from urllib3.exceptions import HTTPError

log = logging.getLogger("personamem.launcher")
NO_ANSWER = (DagsterK8sAPIRetryLimitExceeded, DagsterK8sUnrecoverableAPIError, HTTPError)
"""An answer that is none (5xx, 401, 403, ...), and no answer at all."""


class PatientK8sRunLauncher(K8sRunLauncher):
    """`K8sRunLauncher`, for which a worker lives until the API server says otherwise.

    What never comes to be known is ended by `max_runtime_seconds`.
    """

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        found: CheckRunHealthResult = super().check_run_worker_health(run)
        if found.status != WorkerStatus.UNKNOWN:
            return found
        # Only in words does it tell a Job that is gone from one that could not be asked for; so it is asked for here, too.
        name = get_job_name_from_run_id(  # type: ignore[no-untyped-call]
            run.run_id, resume_attempt_number=self._get_resume_attempt_number(run)
        )
        namespace = self.get_container_context_for_run(run).namespace
        try:
            if self._api_client.get_job_status(name, namespace, wait_time_between_attempts=0) is None:
                return found
        except NO_ANSWER as error:
            log.warning(
                "Job %s could not be asked for and counts as running: %s: %s", name, type(error).__name__, error
            )
        return CheckRunHealthResult(WorkerStatus.RUNNING)
