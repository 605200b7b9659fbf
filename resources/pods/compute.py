"""`KubernetesPods`: each GPU stage in a pod of its own, for assets the same as `LocalProcess`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import dagster as dg
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from pydantic import Field

from personamem_pipeline.errors import UserError
from personamem_pipeline.launch import processes_of, stage_command
from personamem_pipeline.settings import POD_TEMPLATE, Settings, load_settings
from personamem_pipeline.stage import StageJob
from resources.compute import TO_END, TUNING, Compute, one_materialization
from resources.pods.api import Away, Conflict, PodApi
from resources.pods.client import NeverStarted, PodRun
from resources.pods.connection import own_namespace
from resources.pods.environment import stage_environment
from resources.pods.failure import TryAgain, never_started, pod_failure
from resources.pods.manifest import Json, Owner, pod_manifest
from resources.pods.messages import PodMessages
from resources.pods.predecessors import WORK, make_way, work_of
from resources.pods.status import Ended
from resources.pods.template import PLACEHOLDER, PodTemplate, load_template


class KubernetesPods(Compute):
    """The stage is a pod that the template describes; its settings are this machine's, its secrets are the cluster's.

    A pod that the cluster takes away is replaced, `retries` times. A cancelled run ends its pod, with time to save. If this
    process is killed, its own pod's deletion (`ownerReferences`) or the reaper (`resources.reaper`) ends the stage's.
    """

    template: str = Field(default=str(POD_TEMPLATE), description="file that says what a pod looks like")
    kubeconfig: str | None = Field(default=None, description="None: the cluster this runs in, else as for kubectl")
    context: str | None = Field(default=None, description="of the kubeconfig; None: its current one")
    env: dict[str, str] = Field(default_factory=dict, description="variables added to the pod's; no secrets")
    poll_seconds: float = Field(default=2.0, gt=0, description="between two looks at the pod and its log")
    patience_seconds: float = Field(default=600.0, gt=0, description="how long an outage of the API is sat out")

    @classmethod
    def configured(cls, settings: Settings) -> KubernetesPods:
        """Pods as the settings say."""
        kubeconfig = str(settings.kubeconfig) if settings.kubeconfig else None
        return cls(template=str(settings.pod_template), kubeconfig=kubeconfig)

    def run(self, context: dg.AssetExecutionContext, module: str, job: StageJob) -> dg.MaterializeResult:
        try:
            template = load_template(Path(self.template)).for_stage(job.stage)
            visible(template, job)
            if "://" in job.store and not template.scratch.lasts:
                context.log.warning("resumable steps go with the pod: give `scratch` in the pod template a claim")
            api = self.api(template, context)
            return self._run(context, module, placed(template, job), template, api)
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
            context=self.context,
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
            warn, retry = context.log.warning, context.retry_number
            make_way(api, name, work, template, retry=retry, warn=warn, poll=self.poll_seconds)
            run = PodRun(api, manifest, template, messages, context.log, poll=self.poll_seconds)
            ended = run.run()
        if ended.code == 0 and not (run.log_lost and not session.get_results(implicit_materializations=False)):
            return one_materialization(module, session)
        if ended.code == 0:
            ended = Ended(None, "LogLost", "it ended well, and its log, which holds the report, is out of reach", True)
        failure = pod_failure(module, run.name, ended, template, list(messages.words))
        if failure.allow_retries and context.retry_number < template.retries:
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
                env={**TUNING, **stage_environment(load_settings()), **self.env, **bootstrap},
                owner=owner(template, os.environ),
            )
        except ValueError as error:
            raise UserError(str(error), where="the environment of a pod") from error


def visible(template: PodTemplate, job: StageJob) -> None:
    """Refuse what a pod could not reach, before anything starts: this machine's own files, an image that nobody named."""
    if template.image_digest == PLACEHOLDER:
        raise UserError(
            "the image is a placeholder",
            where=template.image,
            remedy="build docker/trainer.Dockerfile, push it, and write its digest into your pod template "
            "(PERSONAMEM_POD_TEMPLATE)",
        )
    mount = template.artifacts.mount_path if template.artifacts else None
    shared = f"s3://..., or a directory under {mount}" if mount else "s3://..., since the template has no `artifacts`"
    if not _reachable(job.store, mount):
        raise UserError(
            "a pod cannot see this store",
            where=job.store,
            expected=shared,
            remedy="set PERSONAMEM_STORE, or `artifacts` in the pod template",
        )
    tracking = urlsplit(job.mlflow_uri or "")
    if tracking.username or tracking.password:
        raise UserError(
            "the address has a user or a password in it, which everybody who may read pods would see",
            where="MLFLOW_TRACKING_URI",
            remedy="put MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD into a Secret that env_from_secrets names",
        )
    if job.mlflow_uri and tracking.scheme not in ("http", "https"):
        path = job.mlflow_uri.partition(":///")[2] if ":///" in job.mlflow_uri else job.mlflow_uri
        if not _reachable(path if path.startswith("/") else f"/{path}", mount):
            raise UserError(
                "a pod cannot write into this MLflow database",
                where=job.mlflow_uri,
                expected="http://... of an MLflow server" + (f", or a file under {mount}" if mount else ""),
                remedy="start `mlflow server` and set MLFLOW_TRACKING_URI",
            )


def placed(template: PodTemplate, job: StageJob) -> StageJob:
    """The job with a place for resumable steps: beside a local store as ever, else on the scratch volume."""
    if job.scratch or "://" not in job.store:
        return job
    return job.model_copy(update={"scratch": f"{template.scratch.mount_path}/{job.scratch_name}"})


def owner(template: PodTemplate, environ: Mapping[str, str]) -> Owner | None:
    """The pod that this process runs in, told by the downward API. None in another namespace: the garbage collector
    takes such an owner for one that is gone, and would delete the pod at once."""
    name, uid = environ.get("POD_NAME"), environ.get("POD_UID")
    namespace = environ.get("POD_NAMESPACE") or own_namespace()
    return Owner(name, uid) if name and uid and namespace == template.namespace else None


def instance_id(instance: dg.DagsterInstance) -> str:
    """What names a Dagster database."""
    storage = instance.run_storage
    if not isinstance(storage, SqlRunStorage):
        raise UserError("this Dagster instance has no id", where=type(storage).__name__, expected="SQLite or Postgres")
    return storage.get_run_storage_id()


def _reachable(place: str, mount: str | None) -> bool:
    return "://" in place or (mount is not None and PurePosixPath(place).is_relative_to(mount))
