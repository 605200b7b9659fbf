"""What may be a base model: what this pipeline trained is refused before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import PASSPORT
from personamem_pipeline.presets import load_preset
from personamem_pipeline.progress import Progress
from personamem_pipeline.stage_job import StageJob
from personamem_pipeline.training.base import _origin, main


def job(tmp_path: Path) -> StageJob:
    preset = load_preset("demo")
    preset = preset.model_copy(update={"base": preset.base.model_copy(update={"path": str(tmp_path)})})
    return StageJob(stage="base_model", store=str(tmp_path / "store"), inputs={}, preset=preset, code_version="test")


@pytest.mark.parametrize(
    ("papers", "problem"),
    [
        ('{"stage": "grpo_checkpoint"}', "a grpo_checkpoint of this pipeline"),
        ('{"stage": "sft_checkpoint"}', "a sft_checkpoint of this pipeline"),
        ('{"stage": "base_model", "source": {"stage": "sft_checkpoint"}}', "a sft_checkpoint of this pipeline"),
        ("{", "it is no passport"),
        ("1", "it is no passport"),
    ],
)
def test_what_this_pipeline_trained_is_no_base_model(papers: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / PASSPORT).write_text(papers)
    with pytest.raises(UserError, match=problem):
        main(job(tmp_path), Progress())
    assert not (tmp_path / "store" / "checkpoints").exists()


@pytest.mark.parametrize("stage", ["base_model", "pretrain"])
def test_what_is_known_of_the_source_is_kept(stage: str, tmp_path: Path) -> None:
    assert _origin(tmp_path, "here") == {"path": "here"}
    (tmp_path / PASSPORT).write_text(json.dumps({"stage": stage}))
    assert _origin(tmp_path, "here") == {"stage": stage}
