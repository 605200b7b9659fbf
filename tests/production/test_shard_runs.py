"""Shards as runs of their own: production's run launcher and storage, and two run workers as pods that run at once.

The launcher, the Kubernetes client, `dagster api execute_run`, Postgres and our assets are the real ones; the API server is
tests/kube, whose kubelet runs a pod's command as a process with the pod's environment.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin

from assets.parents import VERSION
from personamem_pipeline.definitions import build_defs
from personamem_pipeline.settings import PROJECT, Settings
from tests.docker.test_helm import container_context
from tests.kube.cluster import FakeCluster
from tests.pipeline import settings_at
from tests.production import location
from tests.production.postgres import Postgres

ASSET_JOB = "__ASSET_JOB"
SEEDED = ["persona_seeds", "personas"]
SMALL = {"extends": "demo", "data": {"shards": 2, "seeds": {"training_persons": 12, "benchmark_persons": 8}}}


@pytest.fixture
def kube(tmp_path: Path, postgres: Postgres) -> Iterator[FakeCluster]:
    """A cluster with the ConfigMaps and Secrets that docs/kubernetes.md makes."""
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    (tmp_path / "field").mkdir()
    with FakeCluster(tmp_path / "cluster") as cluster:
        cluster.secrets["personamem-settings"] = {
            "PERSONAMEM_HOME": str(tmp_path / "pod"),
            "PERSONAMEM_STORE": str(tmp_path / "data" / "store"),
            "PERSONAMEM_PRESET": str(tmp_path / "small.yaml"),
            "PERSONAMEM_SHARD_RUNS": "apart",
            "FIELD": str(tmp_path / "field"),
        }
        cluster.secrets["dagster-personamem-user-env"] = {}  # the chart's own: the values' `env`, which is empty
        cluster.secrets["personamem"] = {}
        cluster.secrets["personamem-postgres"] = {"postgresql-password": postgres.password}
        yield cluster


@pytest.fixture
def instance(
    tmp_path: Path, kube: FakeCluster, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """production.yaml, with this Postgres and this cluster for those it names."""
    config = postgres.instance_config(tmp_path / "logs")
    config["run_launcher"]["config"] |= {"load_incluster_config": False, "kubeconfig_file": str(kube.kubeconfig)}
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", postgres.password)
    with dg.DagsterInstance.from_config(str(home)) as opened:
        yield opened


def launch(
    instance: dg.DagsterInstance, defs: dg.Definitions, module: str, assets: list[str], **tags: str
) -> dg.DagsterRun:
    """Launch a run as the daemon does that takes it from the queue; the code location is as the chart's code server says."""
    pointer = ModuleCodePointer(module, "defs", str(PROJECT))
    image, context = "personamem/orchestrator", container_context()
    code = RepositoryPythonOrigin(sys.executable, pointer, image, ["dagster"], context)
    keys = {dg.AssetKey(name) for name in assets}
    run = instance.create_run_for_job(
        defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=keys),
        asset_selection=frozenset(keys),
        tags=tags,
        job_code_origin=JobPythonOrigin(ASSET_JOB, code),
    )
    instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    return run


def finish(instance: dg.DagsterInstance, kube: FakeCluster, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    def status() -> dg.DagsterRunStatus:
        found = instance.get_run_by_id(run.run_id)
        assert found is not None
        return found.status

    kube.wait_for(
        lambda: status() in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED),
        120,
    )
    return status()


def versions(instance: dg.DagsterInstance) -> dict[tuple[str, str | None], str]:
    """(asset, shard) -> version in the store. (The data version of a run of several shards is the digest over theirs.)"""
    found: dict[tuple[str, str | None], str] = {}
    for name in SEEDED:
        for record in instance.fetch_materializations(dg.AssetKey(name), limit=10).records:
            event = record.asset_materialization
            assert event is not None
            found.setdefault((name, event.partition), str(event.metadata[VERSION].value))
    return found


def allowed() -> set[tuple[str, str]]:
    """(verb, resource) that docker/kubernetes/rbac.yaml allows."""
    objects = yaml.safe_load_all((PROJECT / "docker" / "kubernetes" / "rbac.yaml").read_text())
    (role,) = (one for one in objects if one["kind"] == "Role")
    return {(verb, resource) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}


def asked(kube: FakeCluster) -> set[tuple[str, str]]:
    """(verb, resource) of every call that reached the API server."""
    found = set()
    for method, path, _ in kube.calls:
        kind, *rest = path.split(f"/namespaces/{kube.namespace}/")[1].split("/")
        verb = {"POST": "create", "DELETE": "delete", "GET": "get" if rest else "list"}[method]
        found.add((verb, "/".join([kind, *rest[1:]])))
    return found


def settings(tmp_path: Path, shard_runs: Any) -> Settings:
    return settings_at(tmp_path / "here").model_copy(
        update={"preset": str(tmp_path / "small.yaml"), "shard_runs": shard_runs, "llm_cache": False}
    )


@pytest.mark.slow
def test_two_shards_are_two_pods_at_once(
    tmp_path: Path, kube: FakeCluster, instance: dg.DagsterInstance, postgres: Postgres
) -> None:
    defs = build_defs(settings(tmp_path, "apart"))
    runs = [
        launch(instance, defs, "personamem_pipeline.definitions", SEEDED, **{"dagster/partition": shard})
        for shard in ("00", "01")
    ]
    kube.wait_for(lambda: sum(pod["status"]["phase"] == "Running" for pod in kube.pods()) == 2, 60, "two pods at once")
    names = [f"dagster-run-{run.run_id}" for run in runs]
    assert [job["metadata"]["name"] for job in kube.jobs()] == names
    for run in runs:
        assert finish(instance, kube, run) == dg.DagsterRunStatus.SUCCESS, [kube.log(name) for name in kube.made()]
    made = versions(instance)
    assert set(made) == {(name, shard) for name in SEEDED for shard in ("00", "01")}

    # The same as one process makes of them in one run.
    with dg.instance_for_test() as other:
        together = build_defs(settings(tmp_path, "together"))
        job = together.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection={dg.AssetKey(n) for n in SEEDED}
        )
        span = {"dagster/asset_partition_range_start": "00", "dagster/asset_partition_range_end": "01"}
        assert job.execute_in_process(instance=other, tags=span).success
        assert versions(other) == made

    assert asked(kube) <= allowed()
    for launched in kube.jobs():  # what anybody who may read jobs can see
        assert postgres.password not in json.dumps(launched)
        (container,) = launched["spec"]["template"]["spec"]["containers"]
        assert container["image"] == "personamem/orchestrator"
        assert launched["spec"]["ttlSecondsAfterFinished"] == 600
        assert launched["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 420
        annotations = launched["spec"]["template"]["metadata"]["annotations"]
        assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"


def test_a_cancelled_run_takes_its_job_with_it(tmp_path: Path, kube: FakeCluster, instance: dg.DagsterInstance) -> None:
    run = launch(instance, location.defs, "tests.production.location", ["patient"])
    kube.wait_for((tmp_path / "field" / "patient").exists, 60, "the asset's start")
    assert instance.run_launcher.terminate(run.run_id)
    assert finish(instance, kube, run) == dg.DagsterRunStatus.CANCELED
    kube.wait_for(lambda: not kube.pods() and not kube.jobs(), 30, "a clean cluster")
    assert asked(kube) <= allowed()
