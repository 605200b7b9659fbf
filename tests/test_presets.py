"""Presets: each is read, says where its figures come from, and extends another without repeating it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import PRESETS, load_preset

NAMES = sorted(path.stem for path in PRESETS.glob("*.yaml"))
TAGS = re.compile(r"\[(paper|scripts|ours|cost|blog|paper, scripts)\]")
PLAIN = {"extends", "seed", "protocol", "prompts", "path", "processes", "lora", "write_share"}
"""Keys whose value needs no source: names, and what another figure already says."""


def test_the_presets_that_the_documentation_names_are_there() -> None:
    assert {"demo", "demo-seeds", "published", "released", "released-data", "one-gpu", "long-context", "128k"} == set(
        NAMES
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_read(name: str) -> None:
    preset = load_preset(name)
    assert preset.name == name
    assert preset.digest == load_preset(name).digest


@pytest.mark.parametrize("name", ["published", "released", "long-context", "128k", "one-gpu"])
def test_every_training_figure_has_a_source(name: str) -> None:
    section = ""
    for line in (PRESETS / f"{name}.yaml").read_text().splitlines():
        if match := re.match(r"(\w+):", line):
            section = match[1]
        key = re.match(r"  (\w+): ", line)
        if section in ("memory", "sft", "grpo", "evaluation") and key and key[1] not in PLAIN:
            assert TAGS.search(line), line


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("demo", "demo-seeds", "published")])
def test_the_others_extend_published(name: str) -> None:
    assert yaml.safe_load((PRESETS / f"{name}.yaml").read_text())["extends"] == "published"
    assert load_preset(name).base == load_preset("published").base


def test_the_seeds_are_trained_as_the_demo_is() -> None:
    demo, seeds = load_preset("demo"), load_preset("demo-seeds")
    assert (seeds.data, seeds.memory, seeds.base, seeds.sft, seeds.grpo) == (
        demo.data, demo.memory, demo.base, demo.sft, demo.grpo,
    )  # fmt: skip


def test_published_has_the_papers_figures() -> None:
    published = load_preset("published")
    assert published.sft.steps == 300 and published.sft.open_share == published.grpo.open_share == 0.2
    assert (published.grpo.steps, published.grpo.prompts_per_step, published.grpo.rollouts) == (500, 32, 8)
    assert (published.memory.chunk_tokens, published.memory.memory_tokens) == (5000, 2048)


def test_large_models_are_evaluated_with_vllm_and_the_demo_anywhere() -> None:
    assert {name: load_preset(name).evaluation.engine for name in NAMES} == {
        **dict.fromkeys(NAMES, "vllm"),
        **dict.fromkeys(("demo", "demo-seeds"), "transformers"),
    }


def test_the_long_context_baseline_reads_the_same_data_with_the_same_questions() -> None:
    published, baseline = load_preset("published"), load_preset("long-context")
    assert baseline.data == published.data and baseline.evaluation == published.evaluation
    assert baseline.memory.protocol == "full_context" and baseline.sft.write_share == 0
    same = ("steps", "prompts_per_step", "rollouts", "open_share", "rewards")
    assert all(getattr(baseline.grpo, key) == getattr(published.grpo, key) for key in same)


def test_a_preset_inherits_key_by_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: released-data\ngrpo: {steps: 7, lora: {rank: 2}}\n")
    mine, released = load_preset(str(path)), load_preset("released-data")
    assert mine.name == "mine" and mine.data == released.data
    assert mine.grpo.steps == 7 and mine.grpo.lora is not None and mine.grpo.lora.rank == 2
    assert mine.grpo.model_copy(update={"steps": 500, "lora": None}) == released.grpo


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("extends: 32k", "no such preset"),
        ("extends: [published]", "extends: "),
        ("extends: published\ngrpo: {rollots: 4}", "grpo.rollots"),
        ("extends: published\ngrpo: {prompts_per_step: 12}", "multiple of questions_per_memory"),
        ("extends: published\nsft: {micro_batch_rows: 3}", "multiple of processes"),
        ("extends: published\ngrpo: {rewards: {politeness: 1.0}}", "grpo.rewards.politeness"),
        ("extends: published\ngrpo: {rewards: {choice: 0.0, open_ended: 0.0}}", "choice or open_ended must pay"),
        ("extends: published\ngrpo: {rewards: {open_ended: 0.0}}", "rewards.open_ended is 0, so open_share must be 0"),
        ("extends: published\ngrpo: {beta: 0.0, monitor_kl: true}", "monitor_kl needs"),
        ("- a list", "a mapping"),
    ],
)
def test_a_preset_that_cannot_be_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=re.escape(problem)):
        load_preset(str(path))
