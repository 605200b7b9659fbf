"""`make demo-kube`: the demo, with its GPU stages as pods of a cluster that lives in this process.

    python -m tests.kube.demo [--fresh] [--home DIR]

Everything is real but the cluster: Dagster, the pod template, the Kubernetes client, the stages. Its one node with 8
H100 exists on paper, and its pods are processes of this machine. A line tells of each pod as it comes, runs and ends.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from personamem_pipeline.errors import UserError
from personamem_pipeline.settings import PROJECT, load_settings
from resources.pods.environment import stage_environment
from tests.kube.cluster import FakeCluster
from tests.kube.objects import Json

HOME = PROJECT / ".personamem" / "kube"
"""Its own store and Dagster database: beside `make demo`'s everything would be up to date, and no pod to see."""


def laptop_template(home: Path, **more: Any) -> dict[str, Any]:
    """A pod template for pods that see this machine's files: paths under `home` are the same inside and outside."""
    gpu = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    return {
        "image": "local/trainer:checkout", "allow_tag": True,
        "gpus": 8, "cpu": "16", "memory": "64Gi", "shm_size": "1Gi", "node_selector": gpu,
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "artifacts": {"claim": "artifacts", "mount_path": str(home)},
        "scratch": {"mount_path": str(home / "scratch"), "host_path": str(home / "scratch")},
        "grace_seconds": 120, "retry_delay_seconds": 1,
        "stages": {"base_model": {"gpus": 0, "cpu": "1", "node_selector": {}, "tolerations": []}},
        **more,
    }  # fmt: skip


def main() -> int:
    """Run the demo on the cluster; the exit code is 1 when an asset failed."""
    parser = argparse.ArgumentParser(description="The demo, its GPU stages as pods of a cluster within this process.")
    parser.add_argument("--home", type=Path, default=HOME, help="its store, databases and logs (default: %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run made")
    arguments = parser.parse_args()
    home = arguments.home.absolute()
    if arguments.fresh and home.exists():
        shutil.rmtree(home)
    dagster_home = home / "dagster"
    (home / "scratch").mkdir(parents=True, exist_ok=True)
    dagster_home.mkdir(exist_ok=True)
    shutil.copyfile(PROJECT / ".dagster_home" / "dagster.yaml", dagster_home / "dagster.yaml")
    console = Console(file=os.fdopen(os.dup(sys.stdout.fileno()), "w"), highlight=False)
    try:
        return play(home, dagster_home, console)
    except UserError as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 2


def play(home: Path, dagster_home: Path, console: Console) -> int:
    """Run the demo on a cluster that lives as long."""
    with tempfile.TemporaryDirectory() as directory, FakeCluster(Path(directory)) as cluster:
        template = Path(directory) / "laptop.yaml"
        # The pods are processes of this machine, and find at its localhost what it finds. So the template says it for them.
        values = laptop_template(home, env=stage_environment(load_settings()))
        template.write_text(yaml.safe_dump(values, sort_keys=False))
        os.environ |= {
            "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}",
            "PERSONAMEM_COMPUTE": "kubernetes", "PERSONAMEM_KUBECONFIG": str(cluster.kubeconfig),
            "PERSONAMEM_POD_TEMPLATE": str(template), "PERSONAMEM_HOME": str(home), "DAGSTER_HOME": str(dagster_home),
        }  # fmt: skip
        with watched(cluster, console):
            return run(console)


def run(console: Console) -> int:
    """What `personamem_pipeline.demo` does, on this console."""
    import dagster as dg

    from personamem_pipeline import demo
    from personamem_pipeline.definitions import build_defs
    from personamem_pipeline.lineage import shard_names
    from personamem_pipeline.presets import load_preset

    settings = load_settings()
    shards = shard_names(load_preset(settings.preset, seed=settings.seed).data.shards)
    with dg.DagsterInstance.get() as instance:
        report = demo.bring_up_to_date(console, build_defs(settings), instance, settings, shards)
    if report is None:
        return 1
    demo.show(console, report)
    return 0


@contextmanager
def watched(cluster: FakeCluster, console: Console) -> Iterator[None]:
    """Print a line whenever a pod comes, changes its phase or goes."""
    over = threading.Event()
    known: dict[str, tuple[str, float, Json]] = {}

    def tell(pod: Json, phase: str, since: float) -> None:
        name, node = pod["metadata"]["name"], pod["spec"].get("nodeName", "-")
        console.print(f"pod {name:<36} {node:<8} {phase:<12} {time.monotonic() - since:6.1f} s", soft_wrap=True)

    def look() -> None:
        there = {pod["metadata"]["name"]: pod for pod in cluster.pods()}
        for name, pod in there.items():
            leaving = pod["metadata"].get("deletionTimestamp") and pod["status"]["phase"] == "Running"
            phase = "Terminating" if leaving else str(pod["status"]["phase"])
            before, since, _ = known.get(name, ("", time.monotonic(), pod))
            known[name] = (phase, since, pod)
            if phase != before:
                tell(pod, phase, since)
        for name in known.keys() - there.keys():
            phase, since, pod = known.pop(name)
            tell(pod, "gone", since)

    def watch() -> None:
        while not over.is_set():
            look()
            with cluster.registry.changed:
                cluster.registry.changed.wait(0.2)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        look()


if __name__ == "__main__":
    sys.exit(main())
