"""What a stage's pod can reach, where its resumable steps go, and whose child it is: settled before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from personamem_pipeline.errors import UserError
from personamem_pipeline.stage_job import StageJob
from resources.pods.connection import own_namespace
from resources.pods.manifest import Owner
from resources.pods.template import PLACEHOLDER, PodTemplate


def visible(template: PodTemplate, job: StageJob, env: Mapping[str, str]) -> None:
    """Refuse what a pod could not reach: this machine's own files and addresses, an image that nobody named.

    Args:
        template: of the pod. What its own `env` says was said for pods, and is not looked at.
        job: of the stage.
        env: the variables that this machine hands on.

    Raises:
        UserError: it could not reach something.
    """
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
    if job.mlflow_uri and not job.mlflow_uri.startswith(("http://", "https://")):
        path = job.mlflow_uri.partition(":///")[2] if ":///" in job.mlflow_uri else job.mlflow_uri
        if not _reachable(path if path.startswith("/") else f"/{path}", mount):
            raise UserError(
                "a pod cannot write into this MLflow database",
                where=job.mlflow_uri,
                expected="http://... of an MLflow server" + (f", or a file under {mount}" if mount else ""),
                remedy="start `mlflow server` and set MLFLOW_TRACKING_URI",
            )
    told = {name: value for name, value in env.items() if name not in template.env}
    for name, address in {**told, "MLFLOW_TRACKING_URI": job.mlflow_uri or ""}.items():
        if _of_this_machine(address):
            raise UserError(
                "a pod that asks for this address finds itself, and nobody listens there",
                where=f"{name}={address}",
                expected="an address that pods reach, too",
                remedy=f"set {name}"
                + ("" if name.startswith("MLFLOW") else ", or what pods take for it in the template's `env`"),
            )


def placed(template: PodTemplate, job: StageJob) -> StageJob:
    """The job with a place for resumable steps: beside a local store as ever, else on the scratch volume.

    Raises:
        UserError: they would go with the pod, and the template does not say that they may.
    """
    if not job.scratch and "://" in job.store:
        job = job.model_copy(update={"scratch": f"{template.scratch.mount_path}/{job.scratch_name}"})
    if not (steps_last(template, job) or template.scratch.may_be_lost):
        raise UserError(
            f"resumable steps in {job.scratch} would go with the pod, so that a preemption loses the training",
            where="scratch in the pod template",
            expected="a claim; or a host_path, with kubernetes.io/hostname in node_selector",
            remedy="give it one, or accept the loss with scratch.may_be_lost: true",
        )
    return job


def steps_last(template: PodTemplate, job: StageJob) -> bool:
    """Whether the pod that takes another's place finds its steps; of a job that was `placed`."""
    if not job.scratch:
        return "://" not in job.store
    place = PurePosixPath(job.scratch)
    if template.artifacts and place.is_relative_to(template.artifacts.mount_path):
        return True
    return template.scratch_lasts and place.is_relative_to(template.scratch.mount_path)


def owner(template: PodTemplate, environ: Mapping[str, str]) -> Owner | None:
    """The pod that this process runs in, told by the downward API. None in another namespace: the garbage collector
    takes such an owner for one that is gone, and would delete the pod at once."""
    name, uid = environ.get("POD_NAME"), environ.get("POD_UID")
    namespace = environ.get("POD_NAMESPACE") or own_namespace()
    return Owner(name, uid) if name and uid and namespace == template.namespace else None


def _reachable(place: str, mount: str | None) -> bool:
    return "://" in place or (mount is not None and PurePosixPath(place).is_relative_to(mount))


def _of_this_machine(address: str) -> bool:
    """Whether a URL leads to the machine, or the pod, that asks for it."""
    host = (urlsplit(address).hostname or "") if "://" in address else ""
    try:
        ip = ip_address(host)
    except ValueError:  # a name
        return host == "localhost" or host.endswith(".localhost")
    return ip.is_loopback or ip.is_unspecified
