"""Which cluster, and who asks: all that is read of kubeconfigs and service accounts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from personamem_pipeline.errors import UserError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where every pod finds who it is, unless its spec says otherwise."""


def connect(kubeconfig: Path | None) -> Any:
    """A `kubernetes.client.CoreV1Api` for this file, else for the cluster that this process runs in, else for what kubectl
    would take. Its calls are not repeated by themselves: whoever calls knows better which, and for how long.

    Raises:
        UserError: no cluster is configured.
    """
    from kubernetes import client, config

    configuration = client.Configuration()
    try:
        if kubeconfig is None and in_cluster():
            config.load_incluster_config(client_configuration=configuration)
        else:
            file = str(kubeconfig) if kubeconfig else None
            config.load_kube_config(file, client_configuration=configuration)
    except config.ConfigException as error:
        raise UserError(
            f"no Kubernetes cluster: {error}",
            where=kubeconfig or "kubeconfig",
            remedy="export PERSONAMEM_KUBECONFIG=..., or PERSONAMEM_COMPUTE=local",
        ) from error
    configuration.retries = False
    return client.CoreV1Api(client.ApiClient(configuration))


def in_cluster() -> bool:
    """Whether this process runs in a pod with a service account."""
    return (SERVICE_ACCOUNT / "token").is_file()


def own_namespace() -> str | None:
    """The namespace of the pod that this process runs in; None where it runs in none."""
    file = SERVICE_ACCOUNT / "namespace"
    return file.read_text().strip() if file.is_file() else None
