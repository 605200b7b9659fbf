"""Killed or stopped in the middle, a training stage goes on and ends with the checkpoint of an unbroken run."""

from __future__ import annotations

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
from personamem_pipeline.presets import LoraConfig, load_preset
from personamem_pipeline.questions.gather import gather
from personamem_pipeline.records import History, Question
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.stage import INTERRUPTED, StageJob, StageResult
from personamem_pipeline.store import Store
from tests.rooms import rooms

TIMEOUT = 240


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """A store with a training dataset of a dozen persons."""
    store = Store(tmp_path_factory.mktemp("store"))
    histories = store.write_rows("histories", History, rooms().histories, parents={}, producer={})
    questions = store.write_rows("questions", Question, rooms().questions, parents={}, producer={})
    shards = {"histories": {"00": histories.version}, "questions": {"00": questions.version}}
    gathered = gather(
        store, "training_dataset", **shards, shards=["00"], producer={}, config=load_preset("demo").data.questions
    )
    return store, gathered.manifest.version


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
def model(policy: Callable[[], Any], renderer: Renderer, dataset: tuple[Store, str], tmp_path: Path) -> str:
    source = tmp_path / "model"
    policy().save_pretrained(source)
    renderer.tokenizer.save_pretrained(source)
    return dataset[0].put_directory("checkpoints", source, parents={}, producer={}).version


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
    assert (dataset[0].verified("checkpoints", version(broken)) / "passport.json").exists()


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
