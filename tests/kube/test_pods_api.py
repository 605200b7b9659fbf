"""The API's calls: carried through outages, repeated safely, refused in words."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from personamem_pipeline.errors import UserError
from resources.pods.api import Away, Conflict, PodApi, QuotaFull
from resources.pods.manifest import Json, pod_manifest
from resources.pods.template import load_template
from tests.kube.cluster import FakeCluster
from tests.kube.test_pods import template_at


def api_of(fake: FakeCluster, said: list[str] | None = None, patience: float = 10) -> PodApi:
    say = (said if said is not None else []).append
    return PodApi(fake.namespace, kubeconfig=fake.kubeconfig, patience=patience, say=say)


def manifest(fake: FakeCluster, directory: Path, run_id: str = "run", instance: str = "here") -> Json:
    return pod_manifest(
        load_template(template_at(directory, fake)), stage="base_model", command=["sleep", "30"], run_id=run_id, retry=0,
        instance=instance, env={}, owner=None,
    )  # fmt: skip


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_a_creation_whose_answer_was_lost_makes_one_pod(status: int, tmp_path: Path, fake: FakeCluster) -> None:
    fake.faults.fail(2, "POST", "pods", status, done=True)
    made = api_of(fake).create(manifest(fake, tmp_path))
    assert fake.faults.injected == 2
    assert [pod["metadata"]["uid"] for pod in fake.pods()] == [made["metadata"]["uid"]]


def test_a_pod_of_somebody_else_is_left_alone(tmp_path: Path, fake: FakeCluster) -> None:
    api_of(fake).create(manifest(fake, tmp_path))
    with pytest.raises(Conflict, match="not ours"):
        api_of(fake).create(manifest(fake, tmp_path, instance="another"))
    assert len(fake.pods()) == 1


def test_an_outage_is_told_and_sat_out(tmp_path: Path, fake: FakeCluster) -> None:
    said: list[str] = []
    api = api_of(fake, said)
    fake.faults.away(1.2)
    assert api.read("nobody") is None
    assert len(said) == 1
    assert "trying again for up to 10 s" in said[0]


def test_patience_ends(fake: FakeCluster) -> None:
    api = api_of(fake, patience=0.8)
    fake.faults.away()
    started = time.monotonic()
    with pytest.raises(Away, match="no answer for"):
        api.read("nobody")
    assert 0.7 < time.monotonic() - started < 5
    fake.faults.back()


def test_a_token_that_runs_out_is_read_anew_and_a_wrong_one_is_not_waited_for(fake: FakeCluster) -> None:
    api = api_of(fake)
    assert api.read("nobody") is None
    text = fake.kubeconfig.read_text()
    old, fake.token = fake.token, "renewed"
    fake.kubeconfig.write_text(text.replace(old, "renewed"))
    assert api.read("nobody") is None
    fake.kubeconfig.write_text(text)
    with pytest.raises(UserError, match="renew the kubeconfig"):
        api_of(fake).read("nobody")


def test_a_refusal_says_what_to_do(tmp_path: Path, fake: FakeCluster) -> None:
    fake.faults.fail(1, "POST", "pods", 403)
    with pytest.raises(UserError, match=r"403 injected 403\n.*rbac\.yaml"):
        api_of(fake).create(manifest(fake, tmp_path))
    with pytest.raises(UserError, match="no Kubernetes cluster"):
        PodApi("personamem", kubeconfig=tmp_path / "absent")


def test_a_log_that_may_not_be_read_is_told_and_a_token_that_runs_out_is_read_anew(
    tmp_path: Path, fake: FakeCluster
) -> None:
    api = api_of(fake)
    name = str(api.create(manifest(fake, tmp_path))["metadata"]["name"])
    fake.running()
    assert api.log(name, None) == ([], True)
    fake.faults.fail(1, "GET", "/log", 403)
    with pytest.raises(UserError, match=r"reading the log of pod .*403"):
        api.log(name, None)
    text = fake.kubeconfig.read_text()
    old, fake.token = fake.token, "renewed"
    fake.kubeconfig.write_text(text.replace(old, "renewed"))
    assert api.log(name, None) is None
    assert api.log(name, None) == ([], True)


def test_a_full_quota_is_told_from_what_is_forbidden(tmp_path: Path, fake: FakeCluster) -> None:
    fake.quota = {"memory": 0}
    with pytest.raises(QuotaFull, match=r"namespace personamem is used up: .*exceeded quota.*requests\.memory"):
        api_of(fake).create(manifest(fake, tmp_path))
    assert not fake.pods()


def test_deleting_what_is_gone_is_done(fake: FakeCluster) -> None:
    api_of(fake).delete("nobody")
