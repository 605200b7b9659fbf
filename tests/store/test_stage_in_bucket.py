"""Stages that store in a bucket: processes of their own, as in a pod, and the whole graph through Dagster."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from personamem_pipeline.lineage import GRAPH
from personamem_pipeline.presets import load_preset
from personamem_pipeline.settings import PROJECT, Settings
from personamem_pipeline.stage_job import StageJob
from resources.compute import LocalProcess
from tests.pipeline import Pipeline, small_preset
from tests.store.conftest import InBucket, elsewhere
from tests.store.server import Fault


@dataclass
class PipelineInBucket(Pipeline):
    """An installation whose store is not on this machine."""

    url: str

    @property
    def settings(self) -> Settings:
        return super().settings.model_copy(update={"store_url": self.url})


@pytest.fixture
def pipeline(bucket: InBucket, tmp_path: Path) -> Iterator[PipelineInBucket]:
    with dg.instance_for_test() as instance:
        preset = small_preset(shards=1)
        yield PipelineInBucket(tmp_path / "home", instance, preset, bucket.url)


def run(bucket: InBucket) -> dg.ExecuteInProcessResult:
    """One tiny stage through LocalProcess."""
    job = StageJob(
        stage="sft_checkpoint", store=bucket.url, inputs={"training_dataset": "0" * 64}, preset=load_preset("demo"),
        code_version="test",
    )  # fmt: skip

    @dg.asset
    def sft_checkpoint(context: dg.AssetExecutionContext) -> Any:
        return LocalProcess(env={"PYTHONPATH": str(PROJECT)}).run(context, "tests.commands.tiny_stage", job)

    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize([sft_checkpoint], instance=instance, raise_on_error=False)


def test_a_stage_stores_in_the_bucket(bucket: InBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.server.faults += [Fault("PUT", "/model.safetensors", how="503"), Fault("PUT", "/manifest.json", how="drop")]
    (event,) = run(bucket).get_asset_materialization_events()
    assert event.materialization.tags is not None
    version = event.materialization.tags["dagster/data_version"]
    far = elsewhere(monkeypatch, tmp_path / "far", bucket.url)  # no copies: what is there came through the bucket
    far.check("checkpoints", version)
    assert [name.split("/")[0] for name in far.attachments("checkpoints", version)] == ["makings"]
    assert all(name.startswith(f"checkpoints/{version}/") for name in bucket.names())
    finished = (tmp_path / "home" / "mirror").rglob("scratch/*/result.json")
    assert [path.parent.name.split("-")[0] for path in finished] == ["sft_checkpoint"]


def test_a_stage_without_access_refuses(bucket: InBucket) -> None:
    bucket.server.faults.append(Fault("PUT", bucket.name, how="refuse", times=999))
    (event,) = run(bucket).get_step_failure_events()
    failure = event.step_failure_data.user_failure_data
    said = failure.description if failure else None
    assert said and "refused its input" in said and "access is denied" in said and bucket.url in said


@pytest.mark.slow
def test_the_whole_graph_in_a_bucket(
    pipeline: PipelineInBucket, bucket: InBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.server.faults.append(Fault("PUT", "/checkpoints/", how="503", times=2))
    result = pipeline.run(*GRAPH)
    assert result.success, [event.message for event in result.get_step_failure_events()]
    assert all(fault.times == 0 for fault in bucket.server.faults)
    far = elsewhere(monkeypatch, tmp_path / "far", bucket.url)  # no copies: what is there came through the bucket
    for name in ("training_dataset", "base_model", "sft_checkpoint", "grpo_checkpoint", "benchmark_report"):
        metadata = pipeline.metadata(name)
        assert metadata["path"] == f"{bucket.url}/{GRAPH[name].kind}/{metadata['version']}"
        far.check(GRAPH[name].kind, metadata["version"])
    assert pipeline.stale() == []
    assert far.versions("checkpoints") and not (tmp_path / "home" / "store").exists()
    assert all(not key.startswith("scratch/") for key in bucket.names())
    bucket.drop(f"checkpoints/{pipeline.metadata('grpo_checkpoint')['version']}/manifest.json")
    assert [item.name for item in pipeline.stale()] == ["grpo_checkpoint", "benchmark_report"]
