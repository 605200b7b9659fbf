"""Killed or stopped in the middle, a training stage goes on and ends with the checkpoint of an unbroken run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.passports.making import makings
from personamem_pipeline.passports.records import read_passport
from personamem_pipeline.passports.used import read_rows
from personamem_pipeline.presets import LoraConfig, load_preset
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.stage import INTERRUPTED
from personamem_pipeline.stage_job import StageJob, StageResult
from personamem_pipeline.store import Store
from tests.stored import stored_dataset, stored_model

TIMEOUT = 240


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """A store with a training dataset of a dozen persons."""
    store = Store(tmp_path_factory.mktemp("store"))
    return store, stored_dataset(store)


def job(stage: str, dataset: tuple[Store, str], model: str, scratch: Path, **figures: Any) -> StageJob:
    store, version = dataset
    preset = load_preset("demo")
    tiny = {"steps": 5, "save_steps": 2}
    preset = preset.model_copy(
        update={
            "memory": preset.memory.model_copy(update={"chunk_tokens": 400, "memory_tokens": 8, "answer_tokens": 6}),
            "sft": preset.sft.model_copy(update={**tiny, "batch_size": 8}),
            "grpo": preset.grpo.model_copy(
                update={
                    **tiny,
                    "prompts_per_step": 2,
                    "questions_per_memory": 2,
                    "rollouts": 2,
                    "micro_batch_rows": 8,
                    "open_share": 0.5,
                    **(figures if stage == "grpo" else {}),
                }
            ),
        }
    )
    parent = {"sft": "base_model", "grpo": "sft_checkpoint"}[stage]
    return StageJob(
        stage=f"{stage}_checkpoint", store=str(store.root), scratch=str(scratch), preset=preset, code_version="test",
        inputs={"training_dataset": version, parent: model},
    )  # fmt: skip


@pytest.fixture
def model(policy: Callable[[], Any], renderer: Renderer, dataset: tuple[Store, str]) -> str:
    return stored_model(dataset[0], policy(), renderer.tokenizer)


ACCELERATE = ("-m", "accelerate.commands.launch", "--config_file", "docker/accelerate/cpu.yaml")
LAUNCHER = ("-m", "personamem_pipeline.training.launcher", "--processes", "2")


def start(stage: str, work: StageJob, through: Sequence[str] = ()) -> subprocess.Popen[str]:
    path = Path(work.scratch)
    path.mkdir(parents=True, exist_ok=True)
    (path / "job.json").write_text(work.model_dump_json())
    module = f"personamem_pipeline.training.{stage}"
    how = [*through, module] if through == LAUNCHER else [*through, "-m", module]
    command = [sys.executable, *how, "--job", str(path / "job.json")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=PROJECT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, output
    return output


def wait_for(pattern: str, scratch: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not list(scratch.glob(pattern)):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.02)


def version(work: StageJob) -> str:
    return StageResult.model_validate_json((Path(work.scratch) / "result.json").read_text()).version


def broken_off(stage: str, work: StageJob, number: signal.Signals, pattern: str, through: Sequence[str] = ()) -> None:
    """Start the stage, send it the signal once the file is there, and see it end without a result."""
    process = start(stage, work, through)
    wait_for(pattern, Path(work.scratch), process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == (INTERRUPTED if number == signal.SIGTERM else -number), output
    assert not (Path(work.scratch) / "result.json").exists()


def shown(scratch: Path) -> list[set[str]]:
    """Rows that the rollouts of each step rested on, by the rollout table, which here keeps all rollouts."""
    steps: dict[int, set[str]] = {}
    for line in (scratch / "rollouts.jsonl").read_text().splitlines():
        row = json.loads(line)
        steps.setdefault(row["step"], set()).update({row["person"], row.get("question", row["person"])})
    return [steps[step] for step in sorted(steps)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "figures"), [("grpo", {}), ("grpo", {"lora": LoraConfig(rank=2, alpha=4, dropout=0.1)}), ("sft", {})]
)
def test_a_run_broken_off_again_and_again_ends_with_the_checkpoint_of_an_unbroken_one(
    stage: str, figures: dict[str, Any], dataset: tuple[Store, str], model: str, tmp_path: Path
) -> None:
    unbroken, broken = (job(stage, dataset, model, tmp_path / name, **figures) for name in ("unbroken", "broken"))
    whole = start(stage, unbroken)
    scratch = Path(broken.scratch)
    broken_off(stage, broken, signal.SIGTERM, "metrics.jsonl")  # within a step: the first log is there, no step is due
    (last,) = scratch.glob("checkpoint-*")
    assert int(last.name.removeprefix("checkpoint-")) % 2 == 1 or stage == "sft", "saved between the planned steps"
    broken_off(stage, broken, signal.SIGKILL, "checkpoint-4")  # the directory is there; what is in it may not be whole
    finish(start(stage, broken))
    finish(whole)
    assert version(broken) == version(unbroken)
    directory = dataset[0].verified("checkpoints", version(broken))
    passport, used = read_passport(directory), read_rows(directory)
    assert passport.base == model and passport.rows == {"steps": 5, "rows": len(used.ids)}
    if stage == "grpo":
        assert shown(scratch) == [{used.ids[place] for place in step} for step in used.steps]
    assert len(makings(dataset[0], version(broken))) == 2, "the same version was made twice"


@pytest.mark.slow
def test_two_processes_go_on_where_they_were_stopped(dataset: tuple[Store, str], model: str, tmp_path: Path) -> None:
    figures = {"steps": 3, "save_steps": 10, "processes": 2, "prompts_per_step": 4}
    unbroken, broken = (job("grpo", dataset, model, tmp_path / name, **figures) for name in ("unbroken", "broken"))
    told = finish(start("grpo", unbroken, ACCELERATE))
    assert "step 3/3" in told
    broken_off("grpo", broken, signal.SIGTERM, "metrics.jsonl", LAUNCHER)
    assert list(Path(broken.scratch).glob("checkpoint-[12]")), "saved between the planned steps"
    finish(start("grpo", broken, ACCELERATE))
    assert version(broken) == version(unbroken)
