"""The fault table: whatever happens to a stage's pod, its node, the worker or the API server, nothing is lost, no pod is
left behind, and the result is that of an unbroken run.

    pytest tests/kube/test_faults.py -rA | grep -E "^(FAULT|PASSED|FAILED)"     # the table itself
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest

from resources.pods.template import load_template
from resources.reaper import reap
from tests.kube.cluster import FakeCluster
from tests.kube.scheduler import GPU_TAINT, H100
from tests.kube.stepping import Bench, Outcome, steps_of, unbroken

COMMAND = [
    "-m",
    "dagster",
    "asset",
    "materialize",
    "--select",
    "sft_checkpoint",
    "-m",
    "tests.commands.stepping_location",
]
PODS = r"/pods$"
ONE = r"/pods/[^/]+$"
LOG = r"/log$"
LOADING = 120.0
"""Seconds that `dagster asset materialize` may take to come to the point on a busy machine; it takes 5 on an idle one."""


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The version of an unbroken run, made by a local process."""
    return unbroken(tmp_path_factory.mktemp("unbroken"))


@pytest.fixture
def bench(fake: FakeCluster, tmp_path: Path) -> Iterator[Bench]:
    yield Bench(tmp_path / "home", fake)


def tell(outcome: Outcome, more: str = "") -> None:
    """One line of the table."""
    words = " ".join(more.split())
    print(
        f"FAULT {'done' if outcome.success else 'failed'} in {outcome.seconds:.1f} s, begun at {outcome.starts} {words}"
    )


def settled(bench: Bench, outcome: Outcome, expected: str, *, processes: int) -> None:
    """Nothing lost, nobody left, the same result."""
    kube = bench.kube
    tell(outcome, f"{kube.faults.injected} answers spoilt")
    assert outcome.success, outcome.failure
    assert outcome.version == expected
    bench.check_whole(outcome.version)
    assert len(outcome.starts) == processes
    made = kube.made()
    for start, before in zip(outcome.starts[1:], made, strict=False):
        assert start >= steps_of(kube, before) > 0, "a saved step was done again"
    gone(kube)


def gone(kube: FakeCluster) -> None:
    kube.wait_for(lambda: not kube.pods() and not kube.processes(), 5, "the pods' end")


def test_nothing_happens(bench: Bench, expected: str) -> None:
    settled(bench, bench.run(), expected, processes=1)


@pytest.mark.parametrize("what", ["preempt", "evict", "oom", "kill", "delete", "delete_by_force"])
def test_a_pod_that_is_taken_away_is_replaced(bench: Bench, expected: str, what: str) -> None:
    kube = bench.kube
    happenings: dict[str, Callable[[str], None]] = {
        "preempt": kube.preempt,
        "evict": kube.evict,
        "oom": kube.kill,
        "kill": lambda name: kube.kill(name, signal.SIGABRT),
        "delete": kube.delete,
        "delete_by_force": lambda name: kube.delete(name, grace=0),
    }
    settled(bench, bench.run(meanwhile=happenings[what]), expected, processes=2)


def test_preempted_three_times(bench: Bench, expected: str) -> None:
    kube = bench.kube

    def again_and_again(name: str) -> None:
        for step in (1, 2, 3):
            kube.wait_for(lambda step=step: steps_of(kube, kube.running()) >= step)  # type: ignore[misc]
            kube.preempt(kube.running())

    settled(bench, bench.run(meanwhile=again_and_again, after=1), expected, processes=4)


def test_a_more_important_pod_takes_the_node_and_gives_it_back(bench: Bench, expected: str) -> None:
    kube = bench.kube
    kube.priorities |= {"urgent": 5000}
    urgent = {
        "metadata": {"name": "urgent"},
        "spec": {
            "restartPolicy": "Never", "priorityClassName": "urgent", "nodeSelector": H100,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": "main", "image": "any", "command": ["python", "-c", "import time; time.sleep(2)"],
                "resources": {"limits": {"nvidia.com/gpu": "8"}},
            }],
        },
    }  # fmt: skip

    def take(name: str) -> None:
        kube.create("pods", kube.namespace, urgent)
        kube.wait_for(lambda: kube.pod("urgent")["status"]["phase"] == "Succeeded")
        kube.delete("urgent")

    outcome = bench.run(meanwhile=take)
    assert "urgent" in kube.made()
    assert outcome.success and outcome.version == expected, outcome.failure
    assert len(outcome.starts) == 2 and outcome.starts[1] >= 2
    tell(outcome)
    gone(kube)


def test_a_lost_node(bench: Bench, expected: str) -> None:
    kube = bench.kube
    kube.add_node("h100-1", labels=H100, taints=[GPU_TAINT])
    settled(bench, bench.run(meanwhile=lambda _: kube.lose_node("h100-0", gone_after=1)), expected, processes=2)


@pytest.mark.slow
def test_a_lost_node_that_nobody_removes(fake: FakeCluster, tmp_path: Path, expected: str) -> None:
    """Its pod would stand there, being deleted, for ever."""
    bench = Bench(tmp_path / "home", fake, lost_after_seconds=1)
    fake.add_node("h100-1", labels=H100, taints=[GPU_TAINT])
    outcome = bench.run(meanwhile=lambda _: fake.lose_node("h100-0", gone_after=0.2, stuck=True))
    settled(bench, outcome, expected, processes=2)


def test_too_little_memory_every_time_is_a_failure_that_says_so(fake: FakeCluster, tmp_path: Path) -> None:
    bench = Bench(tmp_path / "home", fake, retries=1, env={"STEPS": "1000"})

    def twice(name: str) -> None:
        fake.kill(name)
        fake.wait_for(lambda: len(fake.made()) == 2 and steps_of(fake, fake.made()[1]) > 0)
        fake.kill(fake.made()[1])

    outcome = bench.run(meanwhile=twice)
    tell(outcome)
    assert not outcome.success and "out of memory" in outcome.failure and "64Gi" in outcome.failure
    gone(fake)


def test_a_stage_past_its_deadline_is_stopped_and_not_tried_again(fake: FakeCluster, tmp_path: Path) -> None:
    bench = Bench(tmp_path / "home", fake, deadline_seconds=6, env={"STEPS": "1000"})
    outcome = bench.run()
    tell(outcome)
    assert not outcome.success and "deadline" in outcome.failure
    assert len(outcome.starts) == 1
    gone(fake)


# The API server


@pytest.mark.parametrize(
    ("method", "pattern", "times", "status"),
    [
        ("POST", PODS, 3, 503),
        ("GET", ONE, 4, 503),
        ("GET", ONE, 2, 500),
        ("GET", ONE, 2, 429),
        ("GET", ONE, 1, 401),
        ("GET", LOG, 8, 503),
        ("DELETE", ONE, 3, 503),
        ("*", "/", 4, 504),
    ],
)
def test_errors_of_the_api_server_cost_only_time(
    bench: Bench, expected: str, method: str, pattern: str, times: int, status: int
) -> None:
    kube = bench.kube
    if method in ("POST", "DELETE", "*"):
        kube.faults.fail(times, method, pattern, status)
        outcome = bench.run()
    else:
        outcome = bench.run(meanwhile=lambda _: kube.faults.fail(times, method, pattern, status))
    assert kube.faults.injected == times
    settled(bench, outcome, expected, processes=1)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_an_answer_that_is_lost_after_the_deed(bench: Bench, expected: str, method: str) -> None:
    kube = bench.kube
    kube.faults.fail(1, method, "/pods", 503, done=True)
    settled(bench, bench.run(), expected, processes=1)
    assert kube.faults.injected == 1


def test_events_that_may_not_be_read_only_explain_less(bench: Bench, expected: str) -> None:
    kube = bench.kube
    kube.faults.fail(10_000, "GET", "/events$", 403)
    settled(bench, bench.run(meanwhile=lambda name: kube.delete(name, grace=0)), expected, processes=2)
    assert kube.faults.injected == 1  # a refusal is not asked for twice


@pytest.mark.parametrize("when", ["midway", "while_it_ends"])
def test_an_api_server_that_is_away(bench: Bench, expected: str, when: str) -> None:
    kube = bench.kube
    outcome = bench.run(meanwhile=lambda _: kube.faults.away(4 if when == "while_it_ends" else 0.5))
    settled(bench, outcome, expected, processes=1)
    assert kube.faults.injected == 1


def test_preempted_while_the_api_server_is_away(bench: Bench, expected: str) -> None:
    kube = bench.kube

    def both(name: str) -> None:
        kube.faults.away(3)
        kube.preempt(name)

    settled(bench, bench.run(meanwhile=both), expected, processes=2)


def test_an_api_server_that_stays_away_is_a_failure_that_says_so(bench: Bench) -> None:
    kube = bench.kube
    outcome = bench.run(bench.pods(patience=1), meanwhile=lambda _: kube.faults.away())
    tell(outcome)
    assert not outcome.success and "gave no answer" in outcome.failure
    kube.faults.back()
    assert [pod["metadata"]["labels"]["dagster/asset"] for pod in kube.pods()] == ["sft_checkpoint"]


@pytest.mark.parametrize("how", ["broken", "cleanly", "rotated", "broken_often"])
def test_a_log_that_breaks_off(fake: FakeCluster, tmp_path: Path, expected: str, how: str) -> None:
    bench = Bench(tmp_path / "home", fake)

    def drop(name: str) -> None:
        if how == "rotated":
            return fake.rotate_log(name)
        times = 20 if how == "broken_often" else 2
        return fake.faults.drop_log_after(300, times=times, cleanly=how == "cleanly")

    settled(bench, bench.run(meanwhile=drop), expected, processes=1)
    assert how == "rotated" or fake.faults.injected > 0


def test_a_log_that_is_rotated_during_an_outage_costs_a_pod_and_no_more(bench: Bench, expected: str) -> None:
    kube = bench.kube

    def rotate(name: str) -> None:
        kube.faults.fail(10_000, "GET", LOG, 500)
        kube.wait_for(lambda: kube.pod(name)["status"]["phase"] == "Succeeded")
        kube.rotate_log(name)
        kube.faults.calm()

    settled(bench, bench.run(meanwhile=rotate), expected, processes=2)


# Scheduling


def test_a_pod_that_no_node_would_take_fails_soon_and_says_why(fake: FakeCluster, tmp_path: Path) -> None:
    wrong = {"nvidia.com/gpu.product": "NVIDIA-H200"}
    bench = Bench(tmp_path / "home", fake, node_selector=wrong, mismatch_patience_seconds=1)
    outcome = bench.run()
    tell(outcome, outcome.failure)
    assert not outcome.success and outcome.seconds < 10
    assert "didn't match Pod's node affinity/selector" in outcome.failure and "node_selector" in outcome.failure
    gone(fake)


def test_an_image_that_cannot_be_pulled(fake: FakeCluster, tmp_path: Path) -> None:
    fake.missing_images.add("local/trainer:checkout")
    bench = Bench(tmp_path / "home", fake, pull_patience_seconds=1)
    outcome = bench.run()
    tell(outcome, outcome.failure)
    assert not outcome.success and "local/trainer:checkout" in outcome.failure
    gone(fake)


def test_a_busy_cluster_and_a_queue_are_waited_for(tmp_path: Path, expected: str) -> None:
    directory = tmp_path / "cluster"
    directory.mkdir()
    with FakeCluster(directory, kueue=True) as kube:
        patience = {"mismatch_patience_seconds": 0.3, "start_patience_seconds": 0.3, "pull_patience_seconds": 0.3}
        bench = Bench(tmp_path / "home", kube, kueue_queue="gpus", **patience)
        began = time.monotonic()

        def let_go() -> None:
            kube.wait_for(lambda: kube.pods() and kube.pods()[0]["status"]["conditions"])
            time.sleep(1)
            kube.admit(kube.pods()[0]["metadata"]["name"])

        threading.Thread(target=let_go, daemon=True).start()
        outcome = bench.run()
        assert time.monotonic() - began > 1
        settled(bench, outcome, expected, processes=1)


# The worker


def worker(bench: Bench) -> subprocess.Popen[str]:
    env = {**os.environ, **bench.environment()}
    return subprocess.Popen(
        [sys.executable, *COMMAND], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def midway(kube: FakeCluster) -> str:
    name = kube.running("dagster/asset", LOADING)
    kube.wait_for(lambda: steps_of(kube, name) >= 2)
    return name


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancelled_worker_ends_its_pod_with_time_to_save(bench: Bench, expected: str, number: int) -> None:
    kube = bench.kube
    process = worker(bench)
    name = midway(kube)
    began = time.monotonic()
    process.send_signal(number)
    output, _ = process.communicate(timeout=LOADING)
    took = time.monotonic() - began
    assert process.returncode != 0, output
    assert not kube.pods() and not kube.processes(), output
    assert "stopped: saved step" in kube.log(name)
    print(f"FAULT worker ended {took:.1f} s after {signal.Signals(number).name}")
    settled(bench, bench.run(), expected, processes=2)


def test_a_worker_that_is_cancelled_while_the_api_server_is_away(
    fake: FakeCluster, tmp_path: Path, expected: str
) -> None:
    kube, bench = fake, Bench(tmp_path / "home", fake, env={"STEP_SECONDS": "2"})
    process = worker(bench)
    midway(kube)
    kube.faults.away(3)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)  # somebody is impatient
    output, _ = process.communicate(timeout=LOADING)
    assert process.returncode != 0, output
    assert not kube.pods() and not kube.processes(), output
    settled(bench, bench.run(), expected, processes=2)


def test_a_cancel_that_comes_while_a_finished_pod_is_removed_is_heard(bench: Bench) -> None:
    kube = bench.kube
    kube.faults.fail(10_000, "DELETE", ONE, 503)

    def cancel() -> None:
        kube.wait_for(lambda: any(method == "DELETE" for method, _, _ in kube.calls), 60)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)
        kube.faults.calm()

    canceller = threading.Thread(target=cancel, daemon=True)
    canceller.start()
    outcome = bench.run()
    canceller.join(timeout=30)
    assert not outcome.success and "DagsterExecutionInterruptedError" in outcome.failure
    gone(kube)


def test_the_pod_of_a_killed_worker_is_reaped(fake: FakeCluster, tmp_path: Path, expected: str) -> None:
    bench = Bench(tmp_path / "home", fake, env={"STEP_SECONDS": "1"})
    process = worker(bench)
    name = midway(fake)
    process.kill()
    process.communicate(timeout=LOADING)
    assert [pod["metadata"]["name"] for pod in fake.pods()] == [name]
    api = bench.pods().api(load_template(bench.template))
    with dg.DagsterInstance.from_config(str(bench.home / "dagster")) as instance:
        assert reap(instance, api) == []  # the run counts as running, until run monitoring says otherwise
        [run] = instance.get_runs()
        instance.report_run_failed(run)
        assert reap(instance, api) == [name]
        assert reap(instance, api) == []
    gone(fake)
    settled(bench, bench.run(), expected, processes=2)


@pytest.mark.parametrize("when", ["while_it_runs", "before_the_next"])
def test_a_worker_that_lives_makes_no_pod_for_a_run_that_is_over(
    when: str, fake: FakeCluster, tmp_path: Path, expected: str
) -> None:
    """Run monitoring, or somebody, has marked the run as failed, and the reaper has ended its pod."""
    bench = Bench(tmp_path / "home", fake, retry_delay_seconds=1.5)
    api = bench.pods().api(load_template(bench.template))
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:

        def end(name: str) -> None:
            [run] = instance.get_runs()
            if when == "before_the_next":
                fake.preempt(name)
                fake.wait_for(lambda: not fake.pods())
                time.sleep(0.5)  # the worker has seen it, and waits before it tries again
            instance.report_run_failed(run)
            assert reap(instance, api) == ([name] if when == "while_it_runs" else [])

        outcome = bench.run(meanwhile=end, instance=instance)
    tell(outcome, outcome.failure)
    assert not outcome.success and "the run is over" in outcome.failure
    assert len(fake.made()) == 1
    gone(fake)
    settled(bench, bench.run(), expected, processes=2)


def test_the_pod_of_a_killed_worker_makes_way_for_the_next_run(
    fake: FakeCluster, tmp_path: Path, expected: str
) -> None:
    """Two pods over one scratch directory would undo each other's steps; the reaper comes once a minute at best."""
    fake.add_node("h100-1", labels=H100, taints=[GPU_TAINT])
    bench = Bench(tmp_path / "home", fake, env={"STEP_SECONDS": "1"})
    process = worker(bench)
    left = midway(fake)
    process.kill()
    process.communicate(timeout=LOADING)
    together = threading.Event()

    def watch() -> None:
        while left in {pod["metadata"]["name"] for pod in fake.pods()}:
            if len(fake.processes()) > 1:
                together.set()
            time.sleep(0.02)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    outcome = bench.run()
    watcher.join(timeout=30)
    assert not together.is_set(), "two pods worked in one scratch directory at once"
    assert "stopped: saved step" in fake.log(left)
    settled(bench, outcome, expected, processes=2)


def test_of_two_runs_of_the_same_work_the_older_gives_way(fake: FakeCluster, tmp_path: Path, expected: str) -> None:
    fake.add_node("h100-1", labels=H100, taints=[GPU_TAINT])
    bench = Bench(tmp_path / "home", fake, env={"STEP_SECONDS": "0.5"})
    newer: list[Outcome] = []
    older = bench.run(meanwhile=lambda _: newer.append(bench.run()))
    assert not older.success and "another run does this work by now" in older.failure
    assert len(fake.made()) == 2
    settled(bench, newer[0], expected, processes=2)


def test_of_two_runs_that_start_at_once_one_works(fake: FakeCluster, tmp_path: Path, expected: str) -> None:
    fake.add_node("h100-1", labels=H100, taints=[GPU_TAINT])
    bench = Bench(tmp_path / "home", fake, env={"STEP_SECONDS": "0.5"})
    fake.faults.fail(10_000, "POST", PODS, 503)  # until both have seen that nobody does this work
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(bench.run) for _ in range(2)]
        fake.wait_for(lambda: sum("labelSelector" in query for _, _, query in fake.calls) == 2, 60)
        fake.faults.calm()
        one, other = sorted((run.result(timeout=60) for run in runs), key=lambda outcome: outcome.success)
    assert not one.success and "another run began this work at the same time" in one.failure
    assert other.success and other.version == expected, other.failure
    gone(fake)


def test_the_pod_of_a_killed_worker_goes_with_the_workers_own_pod(
    fake: FakeCluster, tmp_path: Path, expected: str
) -> None:
    bench = Bench(tmp_path / "home", fake, env={"STEP_SECONDS": "0.5"})
    own = [("POD_NAME", "metadata.name"), ("POD_UID", "metadata.uid"), ("POD_NAMESPACE", "metadata.namespace")]
    env = [{"name": name, "value": value} for name, value in bench.environment().items()]
    env += [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in own]  # type: ignore[dict-item]
    container = {"name": "run", "image": "any", "command": ["python", *COMMAND], "env": env}
    job = {
        "metadata": {"name": "run-worker"},
        "spec": {
            "backoffLimit": 0, "ttlSecondsAfterFinished": 1,
            "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    }  # fmt: skip
    fake.create("jobs", fake.namespace, job)
    name = midway(fake)
    fake.kill(fake.running("job-name=run-worker"))
    fake.wait_for(lambda: not fake.pods(), 15, "the end of the job, its pod, and what that owned")
    assert "stopped: saved step" in fake.log(name)
    outcome = bench.run()
    assert outcome.success and outcome.version == expected, outcome.failure
    assert len(outcome.starts) == 2 and outcome.starts[1] >= 2
    gone(fake)
