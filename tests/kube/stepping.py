"""Runs the stepping stage on the fake cluster, lets something happen to it midway, and tells how it came out."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from personamem_pipeline.store import Store
from resources.compute import Compute, LocalProcess
from resources.pods.compute import KubernetesPods
from tests.commands.stepping_location import stepping_asset, stepping_job
from tests.kube.cluster import FakeCluster
from tests.kube.demo import laptop_template

STEPS = 6
ENV = {"STEPS": str(STEPS), "STEP_SECONDS": "0.15"}
Happening = Callable[[str], None]
"""What befalls the running pod of this name."""


@dataclass(frozen=True)
class Outcome:
    """How a run came out."""

    success: bool
    version: str
    failure: str
    seconds: float
    starts: list[int]
    """The step that each process of the stage began with."""


class Bench:
    """A home with a store, a Dagster database and a pod template."""

    def __init__(self, home: Path, kube: FakeCluster | None = None, **template: Any) -> None:
        self.home, self._kube = home, kube
        self.store = home / "store"
        self.template = home / "pod.yaml"
        self._problem: BaseException | None = None
        (home / "scratch").mkdir(parents=True, exist_ok=True)
        env = {**ENV, **template.pop("env", {})}
        values = laptop_template(home, **{"retry_delay_seconds": 0.1, "grace_seconds": 30, "env": env, **template})
        self.template.write_text(yaml.safe_dump(values))

    @property
    def kube(self) -> FakeCluster:
        assert self._kube is not None, "this bench has no cluster"
        return self._kube

    def pods(self, patience: float = 30) -> KubernetesPods:
        """Pods as this home's template has them; an outage of the API is sat out for `patience` seconds."""
        kubeconfig = str(self.kube.kubeconfig)
        return KubernetesPods(
            template=str(self.template), kubeconfig=kubeconfig, poll_seconds=0.1, patience_seconds=patience
        )

    def environment(self) -> dict[str, str]:
        """For a worker in a process of its own, `tests.commands.stepping_location`."""
        dagster_home = self.home / "dagster"
        dagster_home.mkdir(exist_ok=True)
        (dagster_home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        return {
            "DAGSTER_HOME": str(dagster_home), "PERSONAMEM_HOME": str(self.home),
            "PERSONAMEM_KUBECONFIG": str(self.kube.kubeconfig), "PERSONAMEM_POD_TEMPLATE": str(self.template),
        }  # fmt: skip

    def run(
        self,
        compute: Compute | None = None,
        meanwhile: Happening | None = None,
        after: int = 2,
        instance: dg.DagsterInstance | None = None,
    ) -> Outcome:
        """Materialize; once the first pod has done `after` steps, let `meanwhile` happen to it."""
        happening = threading.Thread(target=self._happen, args=(meanwhile, after), daemon=True)
        self._problem = None
        if meanwhile:
            happening.start()
        began = time.monotonic()
        result = dg.materialize(
            [stepping_asset(str(self.store))],
            instance=instance,
            resources={"compute": compute or self.pods()},
            raise_on_error=False,
        )
        seconds = time.monotonic() - began
        if meanwhile:
            happening.join(timeout=60)
        if self._problem:
            raise self._problem
        version = failure = ""
        if result.success:
            [event] = result.get_asset_materialization_events()
            version = (event.materialization.tags or {})["dagster/data_version"]
        else:
            data = result.get_step_failure_events()[0].step_failure_data
            told = data.user_failure_data.description if data.user_failure_data else None
            failure = told or (data.error.to_string() if data.error else "")
        return Outcome(result.success, version, failure, seconds, self.starts())

    def starts(self) -> list[int]:
        """The step that each process of the stage began with."""
        job = stepping_job(str(self.store))
        file = job.scratch_directory() / "starts"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def check_whole(self, version: str) -> None:
        """Every byte of the result is what its version says."""
        Store(str(self.store)).verified("checkpoints", version)

    def _happen(self, meanwhile: Happening, after: int) -> None:
        try:
            name = self.kube.running()
            self.kube.wait_for(lambda: steps_of(self.kube, name) >= after, what=f"step {after} of {name}")
            meanwhile(name)
        except BaseException as error:  # handed on to the test's own thread
            self._problem = error


def steps_of(kube: FakeCluster, name: str) -> int:
    """The last step that a pod has told of."""
    found = re.findall(r"step (\d+) of", kube.log(name))
    return int(found[-1]) if found else 0


def unbroken(home: Path) -> str:
    """The version that the same job has when nothing happens to it, as a local process."""
    outcome = Bench(home).run(LocalProcess(env={**ENV, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}))
    assert outcome.success, outcome.failure
    return outcome.version
