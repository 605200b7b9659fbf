"""What a report must not be made of: a base model that was itself trained here, on nobody knows whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.provenance import lineage, refuse_shared_persons
from personamem_pipeline.stage_job import StageJob
from personamem_pipeline.store import Store


@pytest.mark.parametrize(
    "source", [{"stage": "grpo_checkpoint"}, {"stage": "base_model", "source": {"stage": "sft_checkpoint"}}]
)
def test_a_base_model_that_was_trained_here_is_refused(job: StageJob, source: dict[str, Any], tmp_path: Path) -> None:
    store = Store(job.store)
    refuse_shared_persons(store, lineage(store, job.inputs), {"b000"})
    passport = {"stage": "base_model", "inputs": {}, "code_version": "base/2", "source": source}
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "passport.json").write_text(json.dumps(passport))
    base = store.put_directory("checkpoints", tmp_path / "base", parents={}, producer={"stage": "base_model"})
    sft = job.inputs["sft_checkpoint"]
    parents = store.manifest("checkpoints", sft).parents | {"base_model": base.version}
    (tmp_path / "sft").mkdir()
    (tmp_path / "sft" / "passport.json").write_bytes(store.read("checkpoints", sft, "passport.json"))
    grown = store.put_directory("checkpoints", tmp_path / "sft", parents=parents, producer={"stage": "sft_checkpoint"})
    for changed in ({"base_model": base.version}, {"sft_checkpoint": grown.version}):
        with pytest.raises(UserError, match="on whom that was trained cannot be told"):
            refuse_shared_persons(store, lineage(store, {**job.inputs, **changed}), {"b000"})
