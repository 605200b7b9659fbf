"""Who else does the same work: what makes way, what is left alone, and who gives way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.errors import UserError
from resources.pods.api import PodApi
from resources.pods.manifest import RUN, pod_manifest
from resources.pods.predecessors import WORK, Attempt
from resources.pods.template import load_template
from tests.kube.cluster import FakeCluster
from tests.kube.test_pods import template_at

SLEEP = ["python", "-c", "import time; time.sleep(60)"]


class Site:
    """A cluster and a template; attempts at one piece of work."""

    def __init__(self, fake: FakeCluster, directory: Path) -> None:
        self.fake, self.warned = fake, list[str]()
        self.template = load_template(template_at(directory, fake))
        self.api = PodApi(fake.namespace, kubeconfig=fake.kubeconfig, patience=10)

    def start(self, run_id: str, command: list[str], retry: int = 0) -> str:
        """A pod at the work; its name."""
        manifest = pod_manifest(
            self.template, stage="base_model", command=command, run_id=run_id, retry=retry, instance="here", env={},
            owner=None,
        )  # fmt: skip
        manifest["metadata"]["labels"][WORK] = "work"
        return str(self.api.create(manifest)["metadata"]["name"])

    def attempt(
        self, run_id: str, name: str = "own", *, retry: int = 0, steps_last: bool = True, over: tuple[str, ...] = ()
    ) -> Attempt:
        """`over`: the runs that are known to be."""
        return Attempt(
            self.api, name, "work", run_id, retry, self.template, steps_last,
            lambda pod: pod["metadata"]["labels"][RUN] in over, warn=self.warned.append, poll=0.05,
        )  # fmt: skip

    def phase(self, name: str) -> str:
        return str(self.fake.pod(name)["status"]["phase"])


@pytest.fixture
def site(fake: FakeCluster, tmp_path: Path) -> Site:
    return Site(fake, tmp_path)


def test_the_first_attempt_has_another_run_s_pod_ended(site: Site) -> None:
    name = site.start("other", SLEEP)
    site.fake.wait_for(lambda: site.phase(name) == "Running")
    site.attempt("own").make_way()
    assert not site.fake.pods()
    assert f"pod {name} of run other" in site.warned[0]


@pytest.mark.parametrize(
    ("given", "told"), [({"retry": 1}, "does this work by now"), ({"steps_last": False}, "steps would go with its pod")]
)
def test_a_healthy_pod_of_another_run_is_left_alone(given: dict[str, Any], told: str, site: Site) -> None:
    name = site.start("other", SLEEP)
    site.fake.wait_for(lambda: site.phase(name) == "Running")
    with pytest.raises(UserError, match=told):
        site.attempt("own", **given).make_way()
    assert not site.fake.pod(name)["metadata"].get("deletionTimestamp")


@pytest.mark.parametrize("given", [{"retry": 1}, {"steps_last": False}])
def test_a_pod_whose_run_is_over_is_ended_whatever_it_has(given: dict[str, Any], site: Site) -> None:
    name = site.start("other", SLEEP)
    site.fake.wait_for(lambda: site.phase(name) == "Running")
    site.attempt("own", **given, over=("other",)).make_way()
    assert not site.fake.pods()
    assert f"pod {name} of run other" in site.warned[0]


@pytest.mark.parametrize("steps_last", [True, False])
def test_an_evicted_pod_of_the_own_run_is_no_rival(steps_last: bool, site: Site) -> None:
    name = site.start("own", SLEEP)
    site.fake.wait_for(lambda: site.phase(name) == "Running")
    site.fake.evict(name)
    site.fake.wait_for(lambda: site.phase(name) == "Failed")
    site.attempt("own", retry=1, steps_last=steps_last).make_way()
    assert not site.fake.pods()


@pytest.mark.parametrize("code", [0, 1])
def test_a_pod_of_another_run_that_has_ended_is_no_rival_and_keeps_its_report(code: int, site: Site) -> None:
    name = site.start("other", ["python", "-c", f"raise SystemExit({code})"])
    site.fake.wait_for(lambda: site.phase(name) in ("Succeeded", "Failed"))
    site.attempt("own", retry=1).make_way()
    site.attempt("own", site.start("own", SLEEP)).check_alone()
    assert name in {pod["metadata"]["name"] for pod in site.fake.pods()}


def test_of_two_pods_the_older_stays(site: Site) -> None:
    """Those of one second are told apart by name, whoever was first."""
    names = [site.start(run, SLEEP) for run in ("a", "b")]
    made = {pod["metadata"]["name"]: pod["metadata"]["creationTimestamp"] for pod in site.fake.pods()}
    older, younger = sorted(names, key=lambda name: (made[name], name))
    runs = dict(zip(names, ("a", "b"), strict=True))
    site.attempt(runs[older], older).check_alone()
    with pytest.raises(UserError, match="at the same time"):
        site.attempt(runs[younger], younger).check_alone()
    site.attempt(runs[younger], younger, over=(runs[older],)).check_alone()
    site.attempt(runs[younger], "gone").check_alone()
    site.attempt(runs[older], younger).check_alone()  # an earlier pod of the same run is none
