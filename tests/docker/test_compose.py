"""docker/compose.yaml: its services find each other, their files, and the settings that the code reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config

from personamem_pipeline.settings import PROJECT
from resources.pods.template import STAGES, load_template
from tests.docker.files import DOCKER, SETTINGS

COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
GPU: dict[str, Any] = yaml.safe_load((DOCKER / "compose.gpu.yaml").read_text())["services"]


def environment(name: str) -> dict[str, str]:
    """A service's variables; empty for those that compose hands on from its own environment."""
    return {variable: value or "" for variable, value in SERVICES[name].get("environment", {}).items()}


def test_the_services_are_those_of_the_documents() -> None:
    assert SERVICES.keys() == {"postgres", "mlflow", "code-server", "webserver", "daemon"}
    assert GPU.keys() == {"code-server"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_what_it_names(name: str) -> None:
    service = SERVICES[name]
    for volume in service.get("volumes", ()):
        source = volume.split(":")[0]
        assert (DOCKER / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]
    for other, how in service.get("depends_on", {}).items():
        assert other in SERVICES
        assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[other]
    for build in filter(None, (service.get("build"), GPU.get(name, {}).get("build"))):
        assert (DOCKER / build["context"] / build["dockerfile"]).is_file()
    assert "build" in service or re.fullmatch(r"[a-z]+:\d+", service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))  # nothing here asks for a password


@pytest.mark.parametrize("name", SERVICES)
def test_only_variables_that_are_read(name: str) -> None:
    for variable in environment(name):
        if variable.startswith("PERSONAMEM_"):
            assert f'"{variable}"' in SETTINGS
    assert "PERSONAMEM_COMPUTE" not in environment(name)  # pods would need a template, a kubeconfig, rights
    for text in environment(name).values():
        assert not re.search(r"password|secret", re.sub(r"\$\{[^}]*\}", "", text), re.IGNORECASE)  # only from outside


def test_docker_hands_its_signal_on_to_the_stages() -> None:
    """tests/production/test_code_server.py has what a signal to the group does."""
    assert SERVICES["code-server"]["init"] is True
    assert environment("code-server")["TINI_KILL_PROCESS_GROUP"] == "1"
    assert environment("code-server").items() > environment("webserver").items()
    assert SERVICES["code-server"]["stop_grace_period"] == "10m"


def test_the_database_is_where_dagster_looks() -> None:
    instance = yaml.safe_load((DOCKER / "dagster" / "compose.yaml").read_text())
    database = instance["storage"]["postgres"]["postgres_db"]
    assert database["hostname"] in SERVICES
    server = environment(database["hostname"])
    assert (database["username"], database["db_name"]) == (server["POSTGRES_USER"], server["POSTGRES_DB"])
    for name in ("code-server", "webserver", "daemon"):
        assert environment(name)[database["password"]["env"]] == server["POSTGRES_PASSWORD"]


def test_the_servers_find_the_code_and_mlflow() -> None:
    (location,) = yaml.safe_load((DOCKER / "dagster" / "workspace.yaml").read_text())["load_from"]
    server = location["grpc_server"]
    command = SERVICES[server["host"]]["command"]
    assert command[command.index("-p") + 1] == str(server["port"])
    mlflow = environment("code-server")["MLFLOW_TRACKING_URI"].removeprefix("http://")
    host, port = mlflow.split(":")
    command = SERVICES[host]["command"]
    assert command[command.index("--port") + 1] == port
    assert f"{host}:*" in environment(host)["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    database = environment(host)["MLFLOW_BACKEND_STORE_URI"].rsplit("/", 1)[1]
    assert f"CREATE DATABASE {database} OWNER dagster;" in (DOCKER / "kubernetes" / "init.sql").read_text()


@pytest.mark.parametrize(
    "path", [*sorted((DOCKER / "dagster").glob("[cp]*.yaml")), PROJECT / ".dagster_home" / "dagster.yaml"]
)
def test_each_instance_is_one_that_dagster_takes_and_frees_its_slots(path: Path, tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(path.read_text())
    config, _ = dagster_instance_config(str(tmp_path))
    monitoring: Any = config["run_monitoring"]
    assert monitoring["free_slots_after_run_end_seconds"] > 0  # a cancelled run would keep its slot for good
    assert monitoring["cancel_timeout_seconds"] >= 600
    template = load_template(DOCKER / "kubernetes" / "pod.yaml")
    queued = template.schedule_patience_seconds + template.start_patience_seconds
    assert monitoring["max_runtime_seconds"] >= len(STAGES) * (queued + template.deadline_seconds)
    retries: Any = config["run_retries"]
    assert retries["retry_on_asset_or_op_failure"] is False
    concurrency: Any = config["concurrency"]
    assert concurrency["pools"]["granularity"] == "op"
    telemetry: Any = config["telemetry"]
    assert telemetry["enabled"] is False
