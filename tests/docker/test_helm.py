"""docker/helm/values.yaml against Dagster's chart, as far as that goes without Helm.

`rendered` does what the chart's templates/configmap-instance.yaml does with the values used here.
"""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import yaml
from dagster._config import validate_config
from dagster._serdes import ConfigurableClass
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import DagsterK8sJobConfig, UserDefinedDagsterK8sConfig, construct_dagster_k8s_job

from resources.pods.template import load_template
from tests.docker.chart import CHART, USER_DEPLOYMENT
from tests.docker.files import DOCKER, copies, final, variables
from tests.docker.test_manifests import KUSTOMIZATION, SECRETS, names

VALUES: dict[str, Any] = yaml.safe_load((DOCKER / "helm" / "values.yaml").read_text())
PRODUCTION: dict[str, Any] = yaml.safe_load((DOCKER / "dagster" / "production.yaml").read_text())
(CODE,) = VALUES["dagster-user-deployments"]["deployments"]


def at(path: str) -> dict[str, Any]:
    found: Any = VALUES
    for part in filter(None, path.split(".")):
        found = found[part]
    assert isinstance(found, dict)
    return found


def rendered() -> dict[str, Any]:
    """dagster.yaml as the chart writes it from these values, its three equal storages in one."""
    custom = VALUES["computeLogManager"]["config"]["customComputeLogManager"]
    database = VALUES["postgresql"]
    ticks = {kind: {"purge_after_days": VALUES["retention"][kind]["purgeAfterDays"]} for kind in ("schedule", "sensor")}
    return {
        "storage": {
            "postgres": {
                "postgres_db": {
                    "scheme": database["postgresqlScheme"],
                    "hostname": database["postgresqlHost"],
                    "port": database["service"]["port"],
                    "username": database["postgresqlUsername"],
                    "password": {"env": "DAGSTER_PG_PASSWORD"},
                    "db_name": database["postgresqlDatabase"],
                }
            }
        },
        "run_launcher": VALUES["runLauncher"]["config"]["customRunLauncher"],
        "python_logs": {"managed_python_loggers": VALUES["pythonLogs"]["managedPythonLoggers"]},
        "telemetry": VALUES["telemetry"],
        "retention": ticks,
        "compute_logs": custom,
        **VALUES["additionalInstanceConfig"],
    }


def container_context() -> dict[str, Any]:
    """What the chart tells the code server of its run workers (`dagsterUserDeployments.k8sContainerContext`)."""
    return {
        "k8s": {
            "image_pull_policy": CODE["image"]["pullPolicy"],
            "env_config_maps": ["dagster-personamem-user-env", *(one["name"] for one in CODE["envConfigMaps"])],
            "env_secrets": [one["name"] for one in CODE["envSecrets"]],
            "volume_mounts": CODE["volumeMounts"],
            "volumes": CODE["volumes"],
            "resources": CODE["resources"],
            "namespace": "personamem",
            "service_account_name": VALUES["global"]["serviceAccountName"],
        }
    }


@pytest.mark.parametrize("path", CHART)
def test_the_chart_has_a_value_of_every_name(path: str) -> None:
    assert at(path).keys() <= CHART[path]


def test_the_charts_instance_is_production_yaml() -> None:
    assert rendered() == PRODUCTION


def test_the_launcher_is_the_chart_s_custom_one_and_is_in_the_image() -> None:
    assert VALUES["runLauncher"].keys() == {"type", "config"} and VALUES["runLauncher"]["type"] == "CustomRunLauncher"
    launcher = PRODUCTION["run_launcher"]
    loaded = getattr(importlib.import_module(launcher["module"]), launcher["class"])
    assert issubclass(loaded, K8sRunLauncher) and issubclass(loaded, ConfigurableClass)
    assert validate_config(loaded.config_type(), launcher["config"]).success
    image = DOCKER / "orchestrator.Dockerfile"
    room = launcher["module"].split(".")[0]
    assert (room, room) in copies(image) and variables(image)["PYTHONPATH"] == "/app"
    assert final(image, "WORKDIR") == ["/app"]
    # What the chart would have said of its own K8sRunLauncher.
    assert launcher["config"]["service_account_name"] == VALUES["global"]["serviceAccountName"]
    assert launcher["config"]["postgres_password_secret"] == VALUES["global"]["postgresqlSecretName"]
    assert launcher["config"]["instance_config_map"] == "dagster-instance"


def test_the_chart_says_nothing_twice() -> None:
    """`additionalInstanceConfig` is appended to the file: a key that the chart writes, too, would stand there twice."""
    assert not any(
        VALUES["dagsterDaemon"][name]["enabled"] for name in ("runCoordinator", "runMonitoring", "runRetries")
    )
    assert "concurrency" not in VALUES


def test_the_database_is_the_one_of_the_manifests() -> None:
    database = VALUES["postgresql"]
    assert database["postgresqlHost"] in names("Service") and not database["enabled"]
    assert "postgresqlPassword" not in database and not VALUES["generatePostgresqlPasswordSecret"]
    assert VALUES["global"]["postgresqlSecretName"] in SECRETS


def test_the_code_server_finds_what_it_names() -> None:
    assert CODE.keys() <= USER_DEPLOYMENT
    assert VALUES["global"]["serviceAccountName"] in names("ServiceAccount")
    generated = {one["name"] for one in KUSTOMIZATION["configMapGenerator"]}
    assert {one["name"] for one in CODE["envConfigMaps"]} <= generated
    assert {one["name"] for one in CODE["envSecrets"]} <= SECRETS
    for deployed in (CODE, VALUES["dagsterWebserver"], VALUES["dagsterDaemon"]):
        assert {mount["name"] for mount in deployed["volumeMounts"]} == {
            volume["name"] for volume in deployed["volumes"]
        }
        assert {v["configMap"]["name"] for v in deployed["volumes"] if "configMap" in v} <= generated
        claims = {v["persistentVolumeClaim"]["claimName"] for v in deployed["volumes"] if "persistentVolumeClaim" in v}
        assert claims == {"personamem-artifacts"} <= names("PersistentVolumeClaim")
        assert deployed["image"] == CODE["image"]  # a webserver of another version could not read the database
    assert CODE["image"].keys() == CHART["dagsterWebserver.image"]
    (orchestrator,) = (image for image in KUSTOMIZATION["images"] if image["name"] == "personamem/orchestrator")
    assert (CODE["image"]["repository"], CODE["image"]["digest"]) == (orchestrator["newName"], orchestrator["digest"])


def test_a_run_worker_is_a_pod_that_kubernetes_takes_and_outlives_its_gpu_pod() -> None:
    launcher = PRODUCTION["run_launcher"]["config"]
    instance = K8sContainerContext(
        service_account_name=launcher["service_account_name"],
        run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(launcher["run_k8s_config"]),  # type: ignore[no-untyped-call]
    )
    merged = instance.merge(K8sContainerContext.create_from_config(container_context())).run_k8s_config
    config = DagsterK8sJobConfig(
        "personamem/orchestrator", postgres_password_secret=launcher["postgres_password_secret"]
    )
    job = construct_dagster_k8s_job(config, ["dagster"], "run", user_defined_k8s_config=merged).to_dict()
    annotations = job["spec"]["template"]["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    variables = {one["name"]: one for one in container["env"]}
    assert variables["POD_UID"]["value_from"]["field_ref"]["field_path"] == "metadata.uid"
    assert variables["DAGSTER_PG_PASSWORD"]["value_from"]["secret_key_ref"]["name"] == "personamem-postgres"
    assert "/etc/personamem" in {mount["mount_path"] for mount in container["volume_mounts"]}
    assert {"personamem-settings"} <= {
        one["config_map_ref"]["name"] for one in container["env_from"] if one["config_map_ref"]
    }
    assert container["resources"]["limits"] == {"memory": "8Gi"}
    assert spec["service_account_name"] == "personamem-orchestrator"
    assert spec["priority_class_name"] == "personamem-service"
    assert spec["security_context"]["run_as_non_root"] is True
    grace = load_template(DOCKER / "kubernetes" / "pod.yaml").grace_seconds
    cancel = PRODUCTION["run_monitoring"]["cancel_timeout_seconds"]
    assert grace < spec["termination_grace_period_seconds"] < cancel
