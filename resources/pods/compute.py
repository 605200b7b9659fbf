"""`KubernetesPods`: each GPU stage in a pod of its own, for assets the same as `LocalProcess`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
from pydantic import Field

from personamem_pipeline.errors import UserError
from personamem_pipeline.launch import processes_of, stage_command
from personamem_pipeline.settings import POD_TEMPLATE, Settings, load_settings
from personamem_pipeline.stage_job import StageJob
from resources.compute import TO_END, TUNING, Compute, one_materialization
from resources.pods.api import Away, Conflict, PodApi
from resources.pods.client import NeverStarted, PodRun
from resources.pods.environment import stage_environment
from resources.pods.failure import TryAgain, never_started, pod_failure, run_over
from resources.pods.manifest import Json, pod_manifest
from resources.pods.messages import PodMessages
from resources.pods.placing import owner, placed, steps_last, visible
from resources.pods.predecessors import WORK, Attempt, work_of
from resources.pods.runs import instance_id, nobody_waits_for, run_is_over
from resources.pods.status import LOG_LOST, Ended
from resources.pods.template import PodTemplate, load_template


class KubernetesPods(Compute):
    """The stage is a pod that the template describes; its settings are this machine's, its secrets are the cluster's.

    A pod that the cluster takes away is replaced, `retries` times, as long as the run is not over. A cancelled run ends its
    pod, with time to save. If this process is killed, its own pod's deletion (`ownerReferences`) or the reaper
    (`resources.reaper`) ends the stage's.
    """

    template: str = Field(default=str(POD_TEMPLATE), description="file that says what a pod looks like")
    kubeconfig: str | None = Field(default=None, description="None: the cluster this runs in, else as for kubectl")
    env: dict[str, str] = Field(default_factory=dict, description="variables added to the pod's; no secrets")
    poll_seconds: float = Field(default=2.0, gt=0, description="between two looks at the pod and its log")
    patience_seconds: float = Field(default=600.0, gt=0, description="how long an outage of the API is sat out")

    @classmethod
    def configured(cls, settings: Settings) -> KubernetesPods:
        """Pods as the settings say."""
        kubeconfig = str(settings.kubeconfig) if settings.kubeconfig else None
        return cls(template=str(settings.pod_template), kubeconfig=kubeconfig)

    def run(self, context: dg.AssetExecutionContext, module: str, job: StageJob) -> dg.MaterializeResult:
        if run_is_over(context.instance, context.run.run_id):  # perhaps since the last attempt
            raise run_over(module)
        try:
            template = load_template(Path(self.template)).for_stage(job.stage)
            visible(template, job, self._told())
            job = placed(template, job)
            if not steps_last(template, job):
                context.log.warning("resumable steps go with the pod: give `scratch` in the pod template a claim")
            return self._run(context, module, job, template, self.api(template, context))
        except UserError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        except (Away, Conflict) as error:
            raise dg.Failure(f"{module} was not seen through to its end\n{error}", allow_retries=False) from error
        except NeverStarted as error:
            raise never_started(module, error) from error

    def api(self, template: PodTemplate, context: dg.AssetExecutionContext | None = None) -> PodApi:
        """The pods of the template's namespace."""
        return PodApi(
            template.namespace,
            kubeconfig=Path(self.kubeconfig) if self.kubeconfig else None,
            patience=self.patience_seconds,
            say=context.log.warning if context else None,
        )

    def _run(
        self, context: dg.AssetExecutionContext, module: str, job: StageJob, template: PodTemplate, api: PodApi
    ) -> dg.MaterializeResult:
        messages = PodMessages()
        with (
            warnings.catch_warnings(action="ignore", category=dg.PreviewWarning),  # about Pipes' own internals
            dg.open_pipes_session(
                context=context,
                context_injector=dg.PipesEnvContextInjector(),
                message_reader=messages,
                extras={"job": job.model_dump(mode="json")},
            ) as session,
        ):
            manifest = self._manifest(context, module, job, template, session.get_bootstrap_env_vars())
            name, work = manifest["metadata"]["name"], work_of(job)
            manifest["metadata"]["labels"][WORK] = work
            attempt = Attempt(
                api, name, work, context.run.run_id, context.retry_number, template, steps_last(template, job),
                lambda pod: nobody_waits_for(context.instance, pod), warn=context.log.warning, poll=self.poll_seconds,
            )  # fmt: skip
            attempt.make_way()
            run = PodRun(
                api, manifest, template, messages, context.log, poll=self.poll_seconds, check=attempt.check_alone
            )
            ended = run.run()
        if ended.code == 0:
            if messages.closed or session.get_results(implicit_materializations=False):
                return one_materialization(module, session)
            ended = Ended(None, LOG_LOST, "the end of its log, which holds its report, could not be read", taken=True)
        failure = pod_failure(module, run.name, ended, template, list(messages.words))
        if failure.allow_retries and context.retry_number < template.retries:
            if run_is_over(context.instance, context.run.run_id):  # its pod was reaped, then
                raise run_over(module) from failure
            context.log.warning(failure.description)
            raise TryAgain(str(failure.description), template) from failure
        raise failure

    def _manifest(
        self,
        context: dg.AssetExecutionContext,
        module: str,
        job: StageJob,
        template: PodTemplate,
        bootstrap: Mapping[str, str],
    ) -> Json:
        grace = template.grace_seconds - TO_END
        command = stage_command(module, processes_of(job.stage, job.preset), python=template.python, grace=grace)
        try:
            return pod_manifest(
                template,
                stage=job.stage,
                command=command,
                run_id=context.run.run_id,
                retry=context.retry_number,
                instance=instance_id(context.instance),
                env={**TUNING, **self._told(), **bootstrap},
                owner=owner(template, os.environ),
            )
        except ValueError as error:
            raise UserError(str(error), where="the environment of a pod") from error

    def _told(self) -> dict[str, str]:
        """What the pod is told of this machine's settings."""
        return {**stage_environment(load_settings()), **self.env}
