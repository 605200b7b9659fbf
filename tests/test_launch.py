"""Several processes are one stage: one job, one voice, one exit code, one end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.launch import GRACE, LAUNCHER, accelerate_config, processes_of, stage_command
from personamem_pipeline.presets import Preset, load_preset
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.stage import INTERRUPTED, REFUSED
from personamem_pipeline.stage_job import StageJob

MODULE = "tests.commands.tiny_ranks"


def preset(sft: int = 1, grpo: int = 1) -> Preset:
    demo = load_preset("demo")
    sections = {"sft": demo.sft, "grpo": demo.grpo}
    counts = {"sft": sft, "grpo": grpo}
    return demo.model_copy(
        update={name: section.model_copy(update={"processes": counts[name]}) for name, section in sections.items()}
    )


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


def job(scratch: Path, processes: int = 2) -> Path:
    scratch.mkdir(exist_ok=True)
    work = StageJob(
        stage="sft_checkpoint", store=str(scratch.parent), scratch=str(scratch), inputs={}, preset=preset(processes),
        code_version="test",
    )  # fmt: skip
    path = scratch.parent / "job.json"
    path.write_text(work.model_dump_json())
    return path


def environment(how: str, **more: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return {**own, "TINY_RANKS": how, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT), **more}


def run(how: str, path: Path, command: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    command = command or stage_command(MODULE, 2, python=sys.executable)
    return subprocess.run(
        [*command, "--job", str(path)], cwd=PROJECT, env=environment(how), capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def launched(scratch: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that a test started; none outlives it."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    pids = [int(path.read_text()) for path in scratch.glob("rank-*")]
    for process in started:
        process.kill()
        process.wait()
    for pid in filter(alive, pids):
        os.kill(pid, signal.SIGKILL)


def start(how: str, scratch: Path, command: list[str], launched: list[subprocess.Popen[bytes]], **env: str) -> None:
    path = job(scratch)
    launched.append(subprocess.Popen([*command, "--job", str(path)], cwd=PROJECT, env=environment(how, **env)))
    until(lambda: len([path for path in scratch.glob("rank-*") if path.read_text()]) == 2)


def until(true: Callable[[], object], timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_processes_are_the_presets() -> None:
    both = preset(sft=2, grpo=8)
    asked = {stage: processes_of(stage, both) for stage in ("sft_checkpoint", "grpo_checkpoint", "base_model")}
    assert asked == {"sft_checkpoint": 2, "grpo_checkpoint": 8, "base_model": 1}


def test_one_process_needs_no_launcher() -> None:
    assert stage_command("a.b", 1, python="python") == ["python", "-m", "a.b"]
    assert stage_command("a.b", 8, python="python") == ["python", "-m", LAUNCHER, "--processes", "8", "a.b"]
    assert "--grace" in stage_command("a.b", 8, python="python", grace=GRACE - 30)


def test_more_processes_than_gpus_are_refused() -> None:
    with pytest.raises(UserError, match=r"8 processes, and this machine has 2 GPU"):
        accelerate_config(8, gpus=2)


@pytest.mark.parametrize("gpu", [True, False])
def test_accelerate_reads_the_configuration(gpu: bool) -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    path = str(accelerate_config(4, gpus=8 if gpu else 0))
    config = load_config_from_file(path)
    assert config.num_processes == (8 if gpu else 2)
    assert config.main_process_port == 0
    args = launch_command_parser().parse_args(["--config_file", path, "--num_processes", "4", "-m", "x"])
    args, *_ = _validate_launch_command(args)
    assert (args.num_processes, args.use_fsdp, args.multi_gpu) == (4, gpu, not gpu)
    values = prepare_multi_gpu_env(args)
    assert args.main_process_port > 0
    assert values["ACCELERATE_MIXED_PRECISION"] == ("bf16" if gpu else "no")
    if gpu:
        told = {
            "FSDP_VERSION": "2",
            "FSDP_RESHARD_AFTER_FORWARD": "true",
            "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
            "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
            "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
            "FSDP_ACTIVATION_CHECKPOINTING": "false",
        }
        assert {name: values[name] for name in told} == told


def test_fsdp2_takes_our_configuration_without_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    import warnings

    import yaml
    from accelerate import FullyShardedDataParallelPlugin

    for name in [name for name in os.environ if name.startswith("FSDP_")]:
        monkeypatch.delenv(name)
    own = yaml.safe_load(accelerate_config(8, gpus=8).read_text())["fsdp_config"]
    names = {"offload_params": "cpu_offload"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stripped = {key.removeprefix("fsdp_"): value for key, value in own.items() if key != "fsdp_version"}
        plugin = FullyShardedDataParallelPlugin(
            fsdp_version=own["fsdp_version"], **{names.get(key, key): value for key, value in stripped.items()}
        )
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True


@pytest.mark.parametrize("bare", [False, True], ids=["launcher", "accelerate launch"])
def test_two_ranks_reduce_and_one_reports(bare: bool, scratch: Path) -> None:
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", "docker/accelerate/cpu.yaml"]
    done = run("reduce", job(scratch), [*accelerate, "-m", MODULE] if bare else None)
    assert done.returncode == 0, done.stderr
    assert '"sum": 3.0' in (scratch / "result.json").read_text()
    assert [line.partition(" ")[2] for line in done.stdout.splitlines()] == [
        "sft_checkpoint of 2 processes",
        "sft_checkpoint: sums v",
    ]


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ("refuse:1", REFUSED, "error: somewhere: the dataset has no rows\n  to do:    materialize it again"),
        ("crash:1", 1, "RuntimeError: out of luck"),
        ("kill:1", 128 + signal.SIGKILL, "rank 1 of the stage was the first to fail, with signal 9"),
    ],
)
def test_the_exit_code_and_the_last_words_are_the_stages(how: str, code: int, words: str, scratch: Path) -> None:
    done = run(how, job(scratch))
    assert done.returncode == code
    assert done.stderr.strip().endswith(words)
    assert not (scratch / "result.json").exists()


@pytest.mark.parametrize(("asked", "running"), [(2, 1), (1, 2)])
def test_another_number_of_processes_than_the_presets_is_refused(asked: int, running: int, scratch: Path) -> None:
    path = job(scratch, asked)
    done = run("reduce", path, stage_command(MODULE, running, python=sys.executable))
    assert done.returncode == REFUSED
    remedy = " ".join([*stage_command(MODULE, asked, python="python"), "--job", str(path)])
    assert remedy in done.stderr
    assert not list(scratch.glob("rank-*"))


def test_sigterm_lets_all_ranks_save(scratch: Path, launched: list[subprocess.Popen[bytes]]) -> None:
    start("wait", scratch, stage_command(MODULE, 2, python=sys.executable), launched)
    launched[0].terminate()
    assert launched[0].wait(timeout=60) == INTERRUPTED
    assert (scratch / "saved").read_text() == "True"


def test_ranks_that_do_not_stop_are_ended(scratch: Path, launched: list[subprocess.Popen[bytes]]) -> None:
    start("deaf", scratch, stage_command(MODULE, 2, python=sys.executable, grace=0.5), launched)
    launched[0].terminate()
    assert launched[0].wait(timeout=20) == 128 + signal.SIGKILL
    assert not [path for path in scratch.glob("rank-*") if alive(int(path.read_text()))]


def test_the_launchers_death_ends_the_ranks(scratch: Path, launched: list[subprocess.Popen[bytes]]) -> None:
    start("wait", scratch, stage_command(MODULE, 2, python=sys.executable), launched)
    launched[0].kill()
    until(lambda: not [path for path in scratch.glob("rank-*") if alive(int(path.read_text()))])
    assert (scratch / "saved").read_text() == "True"


def test_the_death_of_dagsters_process_ends_the_ranks(scratch: Path, launched: list[subprocess.Popen[bytes]]) -> None:
    """The launcher is a grandchild: its starter is killed, which can send no signal."""
    import dagster_pipes

    path = job(scratch)
    context = scratch.parent / "context.json"
    names = (
        "code_version_by_asset_key", "provenance_by_asset_key", "partition_key", "partition_key_range",
        "partition_time_window",
    )  # fmt: skip
    told = {"asset_keys": ["sft_checkpoint"], "run_id": "r", "job_name": "j", "retry_number": 0}
    extras = {"job": json.loads(path.read_text())}
    context.write_text(json.dumps({**dict.fromkeys(names), **told, "extras": extras}))
    parameters = {
        "DAGSTER_PIPES_CONTEXT": dagster_pipes.encode_param({"path": str(context)}),
        "DAGSTER_PIPES_MESSAGES": dagster_pipes.encode_param({"path": str(scratch.parent / "messages")}),
    }
    starter = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])"]
    start("wait", scratch, [*starter, *stage_command(MODULE, 2, python=sys.executable)], launched, **parameters)
    launched[0].kill()
    until(lambda: (scratch / "saved").exists())
    until(lambda: not [rank for rank in scratch.glob("rank-*") if alive(int(rank.read_text()))])
    assert (scratch.parent / "messages").read_text().count('"opened"') == 1, "only rank 0 speaks to Dagster"
