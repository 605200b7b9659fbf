"""Training curves as a report reads them from a checkpoint's passport."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.curves import read_curves, select


def passport(directory: Path, **more: object) -> Path:
    told = {"stage": "grpo_checkpoint", "inputs": {}, "code_version": "test", **more}
    (directory / "passport.json").write_text(json.dumps(told))
    return directory


def test_curves_come_from_the_passport_in_step_order(tmp_path: Path) -> None:
    curves = read_curves(passport(tmp_path, curves={"reward": [[2, 0.5], [1, 0.25]], "kl": [[1, 0.1]]}))
    assert select({"grpo": curves, "sft": {}}) == {"grpo reward": [(1, 0.25), (2, 0.5)]}


def test_a_checkpoint_that_was_not_trained_has_none(tmp_path: Path) -> None:
    assert read_curves(passport(tmp_path)) == {}


def test_damaged_curves_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="curves cannot be read"):
        read_curves(passport(tmp_path, curves={"reward": [["one", 0.5]]}))
