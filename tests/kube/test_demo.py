"""The parts of `make demo-kube` that the demo itself does not have; the whole of it takes minutes."""

from __future__ import annotations

import io
from pathlib import Path

import yaml
from rich.console import Console

from personamem_pipeline.lineage import GRAPH
from resources.pods.template import load_template
from tests.kube.cluster import FakeCluster
from tests.kube.demo import laptop_template, watched


def test_a_line_tells_of_each_pod_as_it_comes_runs_and_goes(fake: FakeCluster, tmp_path: Path) -> None:
    written, enough = io.StringIO(), tmp_path / "enough"
    wait = f"import pathlib, time\nwhile not pathlib.Path({str(enough)!r}).exists(): time.sleep(0.05)"
    container = {"name": "main", "image": "any", "command": ["python", "-c", wait]}
    with watched(fake, Console(file=written, width=200)):
        body = {"metadata": {"name": "one"}, "spec": {"restartPolicy": "Never", "containers": [container]}}
        fake.create("pods", fake.namespace, body)
        fake.wait_for(lambda: "Running" in written.getvalue())
        enough.touch()
        fake.wait_for(lambda: "Succeeded" in written.getvalue())
        fake.delete("one")
        fake.wait_for(lambda: "gone" in written.getvalue())
    lines = [line.split() for line in written.getvalue().splitlines()]
    assert [words[3] for words in lines][-3:] == ["Running", "Succeeded", "gone"]
    assert {words[1] for words in lines} == {"one"}
    assert lines[-1][2] == "cpu-0"
    assert float(lines[-1][4]) >= float(lines[0][4])


def test_the_laptops_template_is_one_and_names_real_stages(tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text(yaml.safe_dump(laptop_template(tmp_path)))
    template = load_template(file)
    assert set(template.stages) <= set(GRAPH)
    assert template.for_stage("base_model").gpus == 0
    assert template.for_stage("grpo_checkpoint").gpus == 8
