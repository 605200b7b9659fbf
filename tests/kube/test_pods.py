"""A stage comes back the same from a local process and from a pod: one suite for both, and what only pods can do."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import psutil  # type: ignore[import-untyped]
import pytest
import yaml
from dagster._core.test_utils import create_run_for_test

from personamem_pipeline.presets import load_preset
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.stage_job import StageJob
from resources.compute import Compute, LocalProcess
from resources.pods.compute import KubernetesPods
from resources.pods.manifest import ATTEMPT, MANAGED, RUN, STAGE, pod_manifest
from resources.pods.predecessors import WORK, work_of
from resources.pods.runs import instance_id
from resources.pods.template import load_template
from resources.reaper import build_reaper, reap
from tests.kube.cluster import FakeCluster
from tests.kube.conftest import REAL
from tests.kube.real import RealCluster

Cluster = FakeCluster | RealCluster
IMAGE = os.environ.get("PERSONAMEM_TEST_IMAGE", "registry.test/personamem/trainer@sha256:" + "a" * 64)
SAY = "tests.commands.tiny_pod"


def template_at(directory: Path, kube: Cluster, **more: Any) -> Path:
    """A small pod template whose volumes are below `directory`. Its deadline counts from before an image is pulled."""
    path = directory / "pod.yaml"
    (directory / "scratch").mkdir(exist_ok=True)
    values = {
        "image": IMAGE, "namespace": kube.namespace, "gpus": 0, "cpu": "100m", "memory": "256Mi", "shm_size": "16Mi",
        "artifacts": {"claim": "artifacts", "mount_path": str(directory)},
        "scratch": {"mount_path": str(directory / "scratch")}, "grace_seconds": 30, "deadline_seconds": 1800,
        "lost_after_seconds": 0, "retry_delay_seconds": 0, **more,
    }  # fmt: skip
    path.write_text(yaml.safe_dump(values))
    return path


def pods_on(directory: Path, kube: Cluster, variables: dict[str, str] | None = None, **more: Any) -> KubernetesPods:
    """Pods of a small template; `more` are its fields."""
    return KubernetesPods(
        template=str(template_at(directory, kube, **more)),
        kubeconfig=str(kube.kubeconfig),
        env={"OMP_NUM_THREADS": "1", **(variables or {})},
        poll_seconds=0.05,
        patience_seconds=20,
    )


def job_at(directory: Path, **more: Any) -> StageJob:
    base: dict[str, Any] = {"stage": "base_model", "inputs": {}, "preset": load_preset("demo"), "code_version": "test"}
    return StageJob(**{**base, "store": str(directory / "store"), **more})


def run(
    compute: Compute, job: StageJob, instance: dg.DagsterInstance | None = None, module: str = SAY
) -> dg.ExecuteInProcessResult:
    """Materialize one asset whose stage is `module`."""

    @dg.asset(name=job.stage, code_version="test")
    def stage(context: dg.AssetExecutionContext) -> dg.MaterializeResult[object]:
        return compute.run(context, module, job)

    with dg.DagsterInstance.ephemeral() as own:
        return dg.materialize([stage], instance=instance or own, raise_on_error=False)


def failure_of(result: dg.ExecuteInProcessResult) -> tuple[str, dict[str, Any]]:
    """Description and metadata of the step's failure."""
    (event,) = result.get_step_failure_events()
    data = event.step_failure_data.user_failure_data
    assert data is not None, event.step_failure_data.error
    return data.description or "", {key: value.value for key, value in data.metadata.items()}


@contextmanager
def beside(work: Callable[[], object]) -> Iterator[None]:
    """Does something in a thread while the block runs; its error becomes the block's."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        yield
        future.result(timeout=30)


@pytest.fixture(params=["local", "fake", *(["real"] if REAL else [])])
def compute(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Compute]:
    """Makes the compute under test, with variables for its stage."""
    if request.param == "local":
        return lambda **env: LocalProcess(env={"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT), **env})
    kube = RealCluster(Path(str(REAL))) if request.param == "real" else request.getfixturevalue("fake")
    return lambda **env: pods_on(tmp_path, kube, env)


def test_a_success_is_one_materialization(compute: Callable[..., Compute], tmp_path: Path) -> None:
    result = run(compute(TINY_POD="done"), job_at(tmp_path))
    assert result.success
    (event,) = result.get_asset_materialization_events()
    tags = event.materialization.tags or {}
    assert tags["dagster/data_version"] == "v-0"
    assert event.materialization.metadata["answer"].value == 42.0
    assert event.materialization.metadata["note"].value == "*words* " + "x" * 9000


def test_both_give_the_same_tags(tmp_path: Path, kube: Cluster) -> None:
    tags = []
    for compute in (LocalProcess(env={"TINY_POD": "done"}), pods_on(tmp_path, kube, {"TINY_POD": "done"})):
        (event,) = run(compute, job_at(tmp_path)).get_asset_materialization_events()
        tags.append(event.materialization.tags)
    assert tags[0] == tags[1]
    assert tags[0]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("refuse", f"{SAY} refused its input\nerror: somewhere: no rows\n  to do:    materialize it again"),
        ("crash", f"{SAY} failed with exit code 1"),
        ("speechless", f"{SAY} ended with code 0 but reported 0 materializations"),
    ],
)
def test_failures_say_why(how: str, told: str, compute: Callable[..., Compute], tmp_path: Path) -> None:
    description, _ = failure_of(run(compute(TINY_POD=how), job_at(tmp_path)))
    assert description.startswith(told)
    if how == "crash":
        assert "RuntimeError: out of luck" in description


def test_a_pod_that_ends_well_without_a_last_message_is_made_again(tmp_path: Path, fake: FakeCluster) -> None:
    """Nobody can tell a stage that said nothing from one whose words were lost."""
    compute = pods_on(tmp_path, fake, {"TINY_POD": "silent"}, retries=1)
    description, metadata = failure_of(run(compute, job_at(tmp_path)))
    assert "its report, could not be read" in description
    assert metadata["reason"].startswith("LogLost")
    assert len(fake.made()) == 2


def test_a_progress_bar_does_not_hide_the_report(compute: Callable[..., Compute], tmp_path: Path) -> None:
    assert run(compute(TINY_POD="bar"), job_at(tmp_path)).success


@pytest.mark.parametrize("cleanly", [False, True])
def test_no_line_is_lost_or_doubled_where_the_log_is_cut(
    cleanly: bool, tmp_path: Path, fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.faults.fail(10_000, "GET", "/log", 500)  # until there is a log to be cut

    def cut() -> None:
        fake.wait_for(lambda: fake.made() and "line 1999" in fake.log(fake.made()[0]))
        fake.faults.calm()
        for size in (10, 3_000, 70_000):
            fake.faults.drop_log_after(size, times=2, cleanly=cleanly)
        before = fake.faults.injected
        fake.wait_for(lambda: fake.faults.injected == before + 6)
        (tmp_path / "go").touch()

    with beside(cut):
        assert run(pods_on(tmp_path, fake, {"TINY_POD": "talk"}), job_at(tmp_path)).success
    lines = [line.split(" ", 1)[1] for line in capsys.readouterr().out.splitlines() if " line " in line]
    assert lines == [f"line {number}" for number in range(2000)]


def test_the_pod_is_what_the_template_says_and_is_gone_afterwards(tmp_path: Path, kube: Cluster) -> None:
    compute = pods_on(tmp_path, kube, {"TINY_POD": "wait"}, env={"COLOUR": "blue"})
    seen: list[dict[str, Any]] = []

    def look() -> None:
        seen.append(kube.pod(kube.running()))
        (tmp_path / "go").touch()

    with dg.DagsterInstance.ephemeral() as instance, beside(look):
        result = run(compute, job_at(tmp_path), instance)
        assert result.success
        labels = seen[0]["metadata"]["labels"]
        expected = {**MANAGED, RUN: result.run_id, STAGE: "base_model", ATTEMPT: "0"}
        assert {key: labels[key] for key in expected} == expected
        assert labels["personamem/dagster-instance"] == instance_id(instance)
    kube.wait_for(lambda: not kube.pods())
    environment = (tmp_path / "environment").read_text()
    assert "COLOUR=blue" in environment
    assert "PERSONAMEM_IMAGE=sha256:" + "a" * 64 in environment
    assert "PYTEST_CURRENT_TEST" not in environment  # nothing of this process leaked in


WORKER = """
import sys
from pathlib import Path
from types import SimpleNamespace
from resources.compute import LocalProcess
from tests.kube.test_pods import job_at, pods_on, run
directory, kubeconfig, namespace = sys.argv[1:]
variables = {"TINY_POD": "wait", "OMP_NUM_THREADS": "1"}
kube = SimpleNamespace(kubeconfig=Path(kubeconfig), namespace=namespace)
compute = pods_on(Path(directory), kube, variables) if namespace else LocalProcess(env=variables)
sys.exit(0 if run(compute, job_at(Path(directory))).success else 1)
"""


@pytest.mark.parametrize("where", ["local", "pod"])
def test_a_cancelled_run_lets_its_stage_save(where: str, tmp_path: Path, kube: Cluster) -> None:
    told = [str(tmp_path), str(kube.kubeconfig), kube.namespace if where == "pod" else ""]
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen([sys.executable, "-c", WORKER, *told], cwd=PROJECT, env=env) as process:
        try:
            kube.wait_for((tmp_path / "waiting").exists, 120)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) != 0
        finally:
            process.kill()
    assert not kube.pods()
    (steps,) = (tmp_path / "store" / "scratch").glob("*/steps")
    assert steps.read_text() == "1"


def test_a_local_stage_notices_that_its_worker_died_while_it_was_loading(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), "", ""], cwd=PROJECT, env=env) as process:
        deadline = time.monotonic() + 120
        while not any(SAY in child.cmdline() for child in psutil.Process(process.pid).children()):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
    saved = tmp_path / "store" / "scratch"
    while not list(saved.glob("*/steps")):
        assert time.monotonic() < deadline, "the stage goes on without its worker"
        time.sleep(0.05)


def test_a_pod_that_is_taken_too_often_is_a_failure_that_says_so(tmp_path: Path, fake: FakeCluster) -> None:
    def befall() -> None:
        fake.wait_for((tmp_path / "waiting").exists)
        fake.preempt(fake.running())

    with beside(befall):
        result = run(pods_on(tmp_path, fake, {"TINY_POD": "wait"}, retries=0), job_at(tmp_path))
    description, metadata = failure_of(result)
    assert "took the pod" in description
    assert "Preempt" in description
    assert "waiting from step 0 on" in metadata["last_lines"]


def test_addresses_of_this_machine_are_refused_before_a_pod_is_made(
    tmp_path: Path, fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSONAMEM_LLM_BASE_URL", "http://localhost:8000/v1")
    monkeypatch.setenv("PERSONAMEM_LLM_MODEL", "author")
    description, _ = failure_of(run(pods_on(tmp_path, fake, {"TINY_POD": "done"}), job_at(tmp_path)))
    assert "PERSONAMEM_LLM_BASE_URL=http://localhost:8000/v1" in description
    assert not fake.made()
    there = {"PERSONAMEM_LLM_BASE_URL": "http://vllm:8000/v1"}
    assert run(pods_on(tmp_path, fake, {"TINY_POD": "done"}, env=there), job_at(tmp_path)).success


def test_a_run_begun_again_has_its_dead_predecessor_s_pod_ended_where_steps_do_not_last(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, fake: FakeCluster
) -> None:
    scratch = tmp_path_factory.mktemp("scratch")
    compute = pods_on(tmp_path, fake, {"TINY_POD": "done"}, scratch={"mount_path": str(scratch), "may_be_lost": True})
    template, job = load_template(Path(compute.template)), job_at(tmp_path, scratch=str(scratch / "steps"))
    api = compute.api(template)
    sleeping = ["python", "-c", "import time; time.sleep(60)"]

    def left_by(run_id: str, instance: dg.DagsterInstance) -> str:
        manifest = pod_manifest(
            template, stage=job.stage, command=sleeping, run_id=run_id, retry=0, instance=instance_id(instance), env={},
            owner=None,
        )  # fmt: skip
        manifest["metadata"]["labels"][WORK] = work_of(job)
        return str(api.create(manifest)["metadata"]["name"])

    with dg.DagsterInstance.ephemeral() as instance:
        alive = left_by(create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED).run_id, instance)
        description, _ = failure_of(run(compute, job, instance))
        assert f"pod {alive} of run" in description and "its steps would go with its pod" in description
        api.delete(alive, grace=0)
        left_by(create_run_for_test(instance, status=dg.DagsterRunStatus.FAILURE).run_id, instance)
        assert run(compute, job, instance).success
    fake.wait_for(lambda: not fake.pods())


def test_the_reaper_ends_pods_of_ended_runs_of_its_own_database(tmp_path: Path, kube: Cluster) -> None:
    compute = pods_on(tmp_path, kube)
    template = load_template(Path(compute.template))
    api = compute.api(template)
    sleeping = ["python", "-c", "import time; time.sleep(60)"]

    def start(run_id: str, instance: str) -> str:
        manifest = pod_manifest(
            template,
            stage="base_model",
            command=sleeping,
            run_id=run_id,
            retry=0,
            instance=instance,
            env={},
            owner=None,
        )
        return str(api.create(manifest)["metadata"]["name"])

    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        here = instance_id(instance)
        over = run(LocalProcess(env={"TINY_POD": "done"}), job_at(tmp_path), instance).run_id
        alive = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED).run_id
        ended, kept = start(over, here), {start(alive, here), start(str(uuid.uuid4()), "another-database")}
        forgotten = start(str(uuid.uuid4()), here)
        sensor = build_reaper(compute)
        told = sensor(dg.build_sensor_context(instance=instance))
        assert isinstance(told, dg.SkipReason)
        assert ended in str(told.skip_message)
        assert forgotten in str(told.skip_message)
        kube.wait_for(lambda: {pod["metadata"]["name"] for pod in kube.pods()} == kept, what="two pods are left")
        assert reap(instance, api) == []
    for name in kept:
        api.delete(name, grace=0)
