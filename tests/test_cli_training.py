"""`personamem cost`: what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from personamem_pipeline.cli import main


def test_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--preset", "published"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("published: models/Qwen3-4B-Instruct-2507, 4.02 B parameters, on 8 x H100 SXM")
    for text in ("2,048", "tokens trained on", "forward, backward", "Adam's moments", "GPU hours", "Assumptions:"):
        assert text in out
    assert "7 chunks of 4,672 tokens, memories of 900, answers of 500" in out
    assert max(map(len, out.split("Assumptions:")[0].splitlines())) <= 100


def test_the_same_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--preset", "one-gpu", "--device", "h200", "--worst", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["device"]["name"] == "H200 SXM" and told["lengths"]["memory"] == 2048 and told["warnings"] == []
    sft, grpo = told["stages"]
    assert (sft["gpus"], grpo["gpus"], grpo["rows"]) == (1, 1, 384)
    assert grpo["seconds"]["good"]["total"] < grpo["seconds"]["careful"]["total"]
    assert grpo["hours"]["good"] == pytest.approx(grpo["steps"] * grpo["seconds"]["good"]["total"] / 3600)
    assert sft["flops"]["total"] == sft["flops"]["training"] and grpo["flops"]["reference"] == 0


def test_what_does_not_fit_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("extends: one-gpu\nsft: {lora: null}\ngrpo: {lora: null}\n")
    assert main(["cost", "--preset", str(path)]) == 0
    out = capsys.readouterr().out
    assert "GRPO does not fit into 80 GB" in out and "SFT does not" not in out


def test_the_demo_has_a_cost_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("PERSONAMEM_PRESET", raising=False)
    assert main(["cost"]) == 0
    assert capsys.readouterr().out.startswith("demo: models/tiny-base, 0.00 B parameters, on 1 x H100")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--preset", "32k"], "no such preset"),
        (["--preset", "published", "--gpus", "3"], "sft on 3 GPUs"),
    ],
)
def test_what_cannot_be_is_refused(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", *arguments]) == 2
    told = capsys.readouterr()
    assert not told.out and problem in told.err and told.err.startswith("error: ")


def test_a_model_of_unknown_size_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.yaml"
    path.write_text("extends: published\nbase: {path: models/elsewhere, shape: null}\n")
    assert main(["cost", "--preset", str(path)]) == 2
    assert "does not say how large it is" in capsys.readouterr().err
