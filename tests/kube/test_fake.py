"""The fake cluster behaves as Kubernetes does towards the official client and dagster_k8s's own Pipes client."""

import time
from pathlib import Path
from typing import Any

import dagster as dg
import httpx2
import pytest
from httpx2 import HTTPStatusError
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3 import Retry
from urllib3.exceptions import HTTPError

from tests.kube.cluster import FakeCluster

SLEEP = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
print("up", flush=True)
time.sleep(30)
"""


def core(fake: FakeCluster) -> client.CoreV1Api:
    settings = client.Configuration()
    config.load_kube_config(config_file=str(fake.kubeconfig), client_configuration=settings)
    settings.retries = Retry(total=0)
    return client.CoreV1Api(client.ApiClient(settings))


def batch(fake: FakeCluster) -> client.BatchV1Api:
    return client.BatchV1Api(core(fake).api_client)


def pod(name: str, code: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, **spec.pop("metadata", {})}
    container = {"name": "main", "image": "any", "command": ["python", "-c", code], **spec.pop("container", {})}
    return {"metadata": metadata, "spec": {"restartPolicy": "Never", "containers": [container], **spec}}


def start(fake: FakeCluster, body: dict[str, Any]) -> client.CoreV1Api:
    api = core(fake)
    api.create_namespaced_pod(fake.namespace, body)
    return api


def phase(fake: FakeCluster, name: str) -> str:
    return str(fake.pod(name)["status"]["phase"])


def ended(fake: FakeCluster, name: str) -> dict[str, Any]:
    fake.wait_for(lambda: phase(fake, name) in ("Succeeded", "Failed"))
    state: dict[str, Any] = fake.pod(name)["status"]["containerStatuses"][0]["state"]["terminated"]
    return state


def test_a_pod_runs_with_nothing_but_its_own_environment(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK", "yes")
    fake.secrets["keys"] = {"TOKEN": "secret"}
    container = {
        "env": [
            {"name": "PLAIN", "value": "1"},
            {"name": "SELF", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "ONE", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "TOKEN"}}},
        ],
        "envFrom": [{"secretRef": {"name": "keys"}}],
    }
    api = start(fake, pod("a", "import os; print(sorted(os.environ.items()))", container=container))
    assert ended(fake, "a") | {"startedAt": 0, "finishedAt": 0} == {
        "exitCode": 0, "reason": "Completed", "startedAt": 0, "finishedAt": 0,
    }  # fmt: skip
    text = api.read_namespaced_pod_log("a", fake.namespace, _preload_content=False).data.decode()
    seen = dict(eval(text))
    assert {key: seen[key] for key in ("PLAIN", "SELF", "ONE", "TOKEN")} == {
        "PLAIN": "1", "SELF": "a", "ONE": "secret", "TOKEN": "secret",
    }  # fmt: skip
    assert set(seen) - {"PLAIN", "SELF", "ONE", "TOKEN", "LC_CTYPE"} == {"PATH", "HOME", "PYTHONPATH"}
    assert api.read_namespaced_pod("a", fake.namespace).status.container_statuses[0].state.terminated.exit_code == 0


def test_a_missing_secret_keeps_the_container_waiting_until_it_is_there(fake: FakeCluster) -> None:
    start(fake, pod("a", "pass", container={"envFrom": [{"secretRef": {"name": "late"}}]}))

    def waiting() -> str:
        state = (fake.pod("a")["status"].get("containerStatuses") or [{}])[0].get("state", {})
        return str(state.get("waiting", {}).get("reason"))

    fake.wait_for(lambda: waiting() == "CreateContainerConfigError")
    fake.secrets["late"] = {"A": "b"}
    assert ended(fake, "a")["exitCode"] == 0


def test_logs_follow_and_are_stamped_tailed_and_cut(fake: FakeCluster) -> None:
    api = start(fake, pod("a", "import time\nfor i in range(5): print('line', i, flush=True); time.sleep(0.1)"))
    fake.wait_for(lambda: phase(fake, "a") == "Running")
    stream = api.read_namespaced_pod_log("a", fake.namespace, follow=True, timestamps=True, _preload_content=False)
    lines = b"".join(stream.stream()).decode().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [f"line {i}" for i in range(5)]
    stamps = [line.split()[0] for line in lines]
    assert sorted(set(stamps)) == stamps and all(len(stamp) == 30 and stamp.endswith("Z") for stamp in stamps)
    tail = api.read_namespaced_pod_log("a", fake.namespace, tail_lines=2, _preload_content=False)
    assert tail.data == b"line 3\nline 4\n"
    fake.rotate_log("a")
    assert api.read_namespaced_pod_log("a", fake.namespace, _preload_content=False).data == b""
    with pytest.raises(ApiException) as other:
        api.read_namespaced_pod_log("a", fake.namespace, container="side")
    assert other.value.status == 400
    with pytest.raises(ApiException) as none:
        api.read_namespaced_pod_log("b", fake.namespace)
    assert none.value.status == 404


def test_a_log_stream_breaks_or_ends_where_it_is_told_to(fake: FakeCluster) -> None:
    api = start(fake, pod("a", "print('x' * 100)\nprint('y' * 100)"))
    ended(fake, "a")
    fake.faults.drop_log_after(50)
    fake.faults.drop_log_after(50, cleanly=True)
    broken = api.read_namespaced_pod_log("a", fake.namespace, follow=True, _preload_content=False)
    with pytest.raises(HTTPError):
        b"".join(broken.stream())
    clean = api.read_namespaced_pod_log("a", fake.namespace, follow=True, _preload_content=False)
    assert b"".join(clean.stream()) == b"x" * 100 + b"\n"
    whole = api.read_namespaced_pod_log("a", fake.namespace, follow=True, _preload_content=False)
    assert len(b"".join(whole.stream())) == 202
    assert fake.faults.injected == 2


def test_deletion_gives_the_process_its_grace(fake: FakeCluster) -> None:
    api = start(fake, pod("a", SLEEP, terminationGracePeriodSeconds=20))
    fake.wait_for(lambda: "up" in fake.log("a"), what="the process")
    began = time.monotonic()
    api.delete_namespaced_pod("a", fake.namespace)
    assert fake.pod("a")["metadata"]["deletionTimestamp"]
    api.delete_namespaced_pod("a", fake.namespace)  # a second time is no error
    fake.wait_for(lambda: not fake.pods())
    assert time.monotonic() - began < 10
    with pytest.raises(ApiException) as gone:
        api.delete_namespaced_pod("a", fake.namespace)
    assert gone.value.status == 404
    assert not fake.processes()


def test_who_ignores_sigterm_is_killed_after_the_grace(fake: FakeCluster) -> None:
    deaf = "import signal,time\nsignal.signal(15, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(30)"
    api = start(fake, pod("a", deaf))
    fake.wait_for(lambda: "up" in fake.log("a"))
    api.delete_namespaced_pod("a", fake.namespace, grace_period_seconds=1)
    fake.wait_for(lambda: not fake.processes(), 5)


def test_what_befalls_pods_is_told_as_kubernetes_tells_it(fake: FakeCluster) -> None:
    for name in ("oom", "evicted", "late", "moved"):
        start(fake, pod(name, SLEEP, **({"activeDeadlineSeconds": 3} if name == "late" else {})))
    fake.wait_for(lambda: all("up" in fake.log(name) for name in ("oom", "evicted", "moved")))
    fake.kill("oom")
    fake.evict("evicted")
    fake.preempt("moved")
    assert ended(fake, "oom")["reason"] == "OOMKilled" and ended(fake, "oom")["exitCode"] == 137
    assert ended(fake, "evicted")["exitCode"] == 137
    assert ended(fake, "late")["exitCode"] == 143
    assert fake.pod("evicted")["status"]["reason"] == "Evicted"
    assert fake.pod("late")["status"]["reason"] == "DeadlineExceeded"
    assert "Preempted" in [event["reason"] for event in fake.events("moved")]
    fake.wait_for(lambda: "moved" not in {item["metadata"]["name"] for item in fake.pods()})


def test_a_lost_node_takes_its_pods_with_it(fake: FakeCluster) -> None:
    api = start(fake, pod("a", SLEEP))
    fake.wait_for(lambda: "up" in fake.log("a"))
    stream = api.read_namespaced_pod_log("a", fake.namespace, follow=True, _preload_content=False)
    fake.lose_node("cpu-0", gone_after=0.5)
    with pytest.raises(HTTPError):
        b"".join(stream.stream())
    assert phase(fake, "a") == "Running" and not fake.processes()
    with pytest.raises(ApiException) as unreachable:
        api.read_namespaced_pod_log("a", fake.namespace)
    assert unreachable.value.status == 500
    fake.wait_for(lambda: not fake.pods())


def test_a_lost_node_that_nobody_removes_keeps_its_pods(fake: FakeCluster) -> None:
    api = start(fake, pod("a", SLEEP))
    fake.wait_for(lambda: "up" in fake.log("a"))
    fake.lose_node("cpu-0", gone_after=0.1, stuck=True)
    fake.wait_for(lambda: fake.pod("a")["metadata"].get("deletionTimestamp"))
    api.delete_namespaced_pod("a", fake.namespace)
    time.sleep(0.3)
    assert phase(fake, "a") == "Running"
    api.delete_namespaced_pod("a", fake.namespace, grace_period_seconds=0)
    assert not fake.pods()


def test_gpus_taints_and_selectors_decide_where_a_pod_goes(fake: FakeCluster) -> None:
    gpus = {"container": {"resources": {"limits": {"nvidia.com/gpu": "8"}}}}
    tolerant = {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]}
    start(fake, pod("stranger", SLEEP, **gpus))
    start(fake, pod("first", SLEEP, **gpus, **tolerant))
    start(fake, pod("second", SLEEP, **gpus, **tolerant))
    fake.wait_for(lambda: fake.events("second") and fake.events("stranger"))
    assert fake.pod("first")["spec"]["nodeName"] == "h100-0"
    assert fake.events("stranger")[0]["reason"] == "FailedScheduling"
    message = fake.events("stranger")[0]["message"]
    assert message.startswith("0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint")
    fake.delete("first", grace=0)
    fake.wait_for(lambda: phase(fake, "second") == "Running")


def test_priority_preempts(fake: FakeCluster) -> None:
    fake.priorities |= {"low": 10, "high": 1000}
    cpus = {"container": {"resources": {"requests": {"cpu": "10"}}}}
    start(fake, pod("victim", SLEEP, **cpus, priorityClassName="low"))
    fake.wait_for(lambda: "up" in fake.log("victim"))
    start(fake, pod("winner", SLEEP, **cpus, priorityClassName="high", tolerations=[]))
    fake.wait_for(lambda: [item["metadata"]["name"] for item in fake.pods()] == ["winner"])
    fake.wait_for(lambda: phase(fake, "winner") == "Running")


def test_a_queued_pod_waits_for_kueue(tmp_path: Path) -> None:
    with FakeCluster(tmp_path, kueue=True) as fake:
        start(fake, pod("a", "pass", metadata={"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}))
        fake.wait_for(lambda: fake.pod("a")["status"]["conditions"])
        assert fake.pod("a")["status"]["conditions"][0]["reason"] == "SchedulingGated"
        assert not fake.events("a")
        fake.admit("a")
        assert ended(fake, "a")["exitCode"] == 0


def test_what_loses_its_owner_is_deleted(fake: FakeCluster) -> None:
    api = start(fake, pod("owner", SLEEP))
    uid = fake.pod("owner")["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "owner", "uid": uid}
    start(fake, pod("owned", SLEEP, metadata={"ownerReferences": [owner]}))
    fake.wait_for(lambda: "up" in fake.log("owned"))
    api.delete_namespaced_pod("owner", fake.namespace, grace_period_seconds=0)
    fake.wait_for(lambda: not fake.pods())
    fake.wait_for(lambda: not fake.processes())


def test_a_job_makes_one_pod_and_says_how_it_ended(fake: FakeCluster) -> None:
    jobs = batch(fake)
    for name, code in (("good", "pass"), ("bad", "raise SystemExit(3)")):
        spec = {"backoffLimit": 0, "template": {"spec": pod("x", code)["spec"]}}
        jobs.create_namespaced_job(fake.namespace, {"metadata": {"name": name}, "spec": spec})
    fake.wait_for(lambda: all(job["status"].get("conditions") for job in fake.jobs()))
    assert jobs.read_namespaced_job_status("good", fake.namespace).status.succeeded == 1
    assert jobs.read_namespaced_job_status("bad", fake.namespace).status.failed == 1
    assert [item["metadata"]["name"][:4] for item in fake.pods("job-name=bad")] == ["bad-"]
    assert len(jobs.list_namespaced_job(fake.namespace).items) == 2
    jobs.delete_namespaced_job("good", fake.namespace)
    jobs.delete_namespaced_job("bad", fake.namespace, propagation_policy="Background")
    fake.wait_for(lambda: [item["metadata"]["name"][:4] for item in fake.pods()] == ["good"])


def test_selectors(fake: FakeCluster) -> None:
    for name, team in (("a", "x"), ("b", "y")):
        api = start(fake, pod(name, "pass", metadata={"labels": {"team": team, "app": "t"}}))

    def names(**query: str) -> list[str]:
        return [item.metadata.name for item in api.list_namespaced_pod(fake.namespace, **query).items]

    assert names(field_selector="metadata.name=a") == ["a"]
    assert names(label_selector="team in (y, z),app=t") == ["b"]
    assert names(label_selector="team!=y") == ["a"]
    assert names(label_selector="!team") == [] and names(label_selector="team") == ["a", "b"]


def test_refusals(fake: FakeCluster) -> None:
    api = core(fake)

    def refused(body: dict[str, Any]) -> int:
        with pytest.raises(ApiException) as error:
            api.create_namespaced_pod(fake.namespace, body)
        return int(error.value.status)

    assert refused(pod("a", "pass", container={"resources": {"limits": {"nvidia.com/gpu": "-1"}}})) == 422
    assert refused(pod("a", "pass", container={"volumeMounts": [{"name": "none", "mountPath": "/x"}]})) == 422
    assert refused(pod("a", "pass", priorityClassName="unknown")) == 403
    assert refused(pod("A_b", "pass")) == 422
    api.create_namespaced_pod(fake.namespace, pod("a", "pass"))
    assert refused(pod("a", "pass")) == 409
    with pytest.raises(HTTPStatusError, match="401"):
        httpx2.get(f"{fake.url}/api/v1/namespaces/{fake.namespace}/pods").raise_for_status()


def test_faults_of_the_api_server(fake: FakeCluster) -> None:
    api = core(fake)
    fake.faults.fail(2, "GET", "/pods", 503)
    for _ in range(2):
        with pytest.raises(ApiException) as error:
            api.list_namespaced_pod(fake.namespace)
        assert error.value.status == 503
    assert api.list_namespaced_pod(fake.namespace).items == []
    fake.faults.fail(1, "POST", "/pods", 503, done=True)
    with pytest.raises(ApiException):
        api.create_namespaced_pod(fake.namespace, pod("a", "pass"))
    assert [item["metadata"]["name"] for item in fake.pods()] == ["a"]
    fake.faults.away(0.5)
    with pytest.raises(HTTPError):
        api.list_namespaced_pod(fake.namespace)

    def answers() -> bool:
        try:
            return bool(api.list_namespaced_pod(fake.namespace).items)
        except HTTPError:
            return False

    fake.wait_for(answers, 5)
    assert fake.calls[-1][:2] == ("GET", f"/api/v1/namespaces/{fake.namespace}/pods")


@pytest.mark.parametrize(("code", "succeeds"), [(0, True), (3, False)])
def test_the_stock_pipes_client_runs_a_pod_to_its_end(fake: FakeCluster, code: int, succeeds: bool) -> None:
    from dagster_k8s import PipesK8sClient

    script = (
        "import sys, time\nfrom dagster_pipes import open_dagster_pipes\nwith open_dagster_pipes() as c:\n"
        "    print('x' * 40000)\n    c.report_asset_materialization(data_version='v1', metadata={'long': 'y' * 30000})\n"
        f"time.sleep(0.5)\nsys.exit({code})"
    )

    @dg.asset
    def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        pods = PipesK8sClient(load_incluster_config=False, kubeconfig_file=str(fake.kubeconfig), poll_interval=0.2)
        ran = pods.run(
            context=context, image="any", command=["python", "-c", script], namespace=fake.namespace
        )  # fmt: skip
        return ran.get_materialize_result(implicit_materialization=False)

    result = dg.materialize([made], raise_on_error=False)
    assert result.success == succeeds
    if succeeds:
        [event] = result.get_asset_materialization_events()
        assert event.materialization.tags and event.materialization.tags["dagster/data_version"] == "v1"
    fake.wait_for(lambda: not fake.pods())
    verbs = {(method, path.rsplit("/", 1)[-1]) for method, path, _ in fake.calls}
    assert {("POST", "pods"), ("GET", "pods"), ("GET", "log")} <= verbs
