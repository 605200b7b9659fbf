"""A stage hears of its end from whoever started it, also when that one can no longer speak."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import CHECKPOINTS
from personamem_pipeline.passports.making import makings
from personamem_pipeline.presets import load_preset
from personamem_pipeline.progress import Progress
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.stage import _finish
from personamem_pipeline.stage_job import StageJob, StageResult
from personamem_pipeline.store import ATTACHED, Store
from personamem_pipeline.store.runs import JOB, RESULT

CHILD = """
import os, sys, time
from pathlib import Path
from personamem_pipeline.progress import Progress
where, watch = Path(sys.argv[1]), sys.argv[2] == "watch"
stuck = sys.argv[2] == "stuck"
progress = Progress(processes=2) if stuck else Progress()
progress.listen(starter=os.getppid() if watch or stuck else None, grace=0.1)
(where / "running").write_text(str(os.getpid()))
deadline = time.monotonic() + 20
while (stuck or not progress.stop_requested) and time.monotonic() < deadline and not (where / "enough").exists():
    time.sleep(0.02)
(where / "saved").write_text(str(progress.stop_requested))
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]])"


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"{path.name} never came"
        time.sleep(0.02)
    return path.read_text()


@pytest.mark.parametrize(("watch", "saved"), [("watch", "True"), ("ignore", "False")])
def test_a_stage_whose_starter_was_killed_saves_and_ends(watch: str, saved: str, tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(script), str(tmp_path), watch], env=env)
    wait_for(tmp_path / "running")
    parent.kill()
    parent.wait()
    if watch == "ignore":
        time.sleep(0.2)
        assert not (tmp_path / "saved").exists(), "a stage started from a shell goes on without it"
        (tmp_path / "enough").touch()
    assert wait_for(tmp_path / "saved") == saved


def test_a_rank_that_hangs_when_its_launcher_was_killed_is_ended(tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(script), str(tmp_path), "stuck"], env=env)
    rank = int(wait_for(tmp_path / "running"))
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    with pytest.raises((FileNotFoundError, ProcessLookupError)):
        while Path(f"/proc/{rank}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        raise ProcessLookupError  # ended, and nobody has collected it
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_ask_it_to_stop(number: signal.Signals) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        progress = Progress()
        progress.listen()
        assert not progress.stop_requested
        os.kill(os.getpid(), number)
        assert progress.stop_requested
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_a_stage_says_that_it_is_alive(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="personamem"):
        Progress().beat(every=0.01)
        deadline = time.monotonic() + 20
        while "alive for 0 min" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.01)


class Training:
    """A stage that counts how often it really worked, and its job."""

    def __init__(self, directory: Path, kind: str = CHECKPOINTS) -> None:
        self.count, self.kind, self.loss = 0, kind, 0.5
        self.job = StageJob(
            stage="sft_checkpoint", store=str(directory / "store"), scratch=str(directory / "scratch"),
            inputs={"training_dataset": "0" * 64}, preset=load_preset("demo"), code_version="test",
            mlflow_uri="http://somebody:secret@mlflow",
        )  # fmt: skip
        self.scratch, self.store = Path(self.job.scratch), Store(self.job.store)

    def __call__(self, job: StageJob, progress: Progress) -> StageResult:
        self.count += 1
        assert not (self.scratch / RESULT).exists()
        (self.scratch / "checkpoint-2").mkdir(exist_ok=True)
        (self.scratch / "teacher.json").write_text("{}")
        (self.scratch / "curves.png").write_bytes(b"png")
        with self.store.staging() as made:
            (made / "passport.json").write_text("{}")
            version = self.store.put_directory(self.kind, made, parents=job.inputs, producer={}).version
        paths = {"curves": str(self.scratch / "curves.png")}
        return StageResult(
            kind=self.kind, version=version, metrics={"loss": self.loss}, paths=paths, notes={"a": "*b*"}
        )

    def run(self, **job: object) -> StageResult:
        return _finish(self, self.job.model_copy(update=job), Progress())


def left(scratch: Path) -> set[str]:
    return {path.name for path in scratch.iterdir()}


def test_a_fault_after_a_training_does_not_cost_the_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    training = Training(tmp_path)

    def faulty(job: StageJob, progress: Progress) -> StageResult:
        result = training(job, progress)
        (training.store.path(CHECKPOINTS, result.version) / ATTACHED).write_text("in the way")
        return result

    with pytest.raises(OSError):
        _finish(faulty, training.job, Progress())
    assert left(training.scratch) >= {"checkpoint-2", "teacher.json", RESULT, JOB}
    (version,) = training.store.versions(CHECKPOINTS)
    (training.store.path(CHECKPOINTS, version) / ATTACHED).unlink()
    with caplog.at_level("INFO", logger="personamem"):
        first, second = training.run(), training.run(mlflow_run_id="f00")
    assert training.count == 1 and "finished before" in caplog.text
    assert first == second and first.version == version
    assert first.metrics == {"loss": 0.5} and first.notes == {"a": "*b*"} and Path(first.paths["curves"]).is_file()
    assert left(training.scratch) == {"curves.png", RESULT, JOB}
    trained, *asked = makings(training.store, version)
    assert (trained.answered, trained.mlflow_run) == (False, None), "also that of the run which could not attach it"
    assert [(made.answered, made.mlflow_run) for made in asked] == [(True, None), (True, "f00")]
    assert "secret" not in (training.scratch / JOB).read_text()
    assert json.loads((training.scratch / JOB).read_text())["inputs"] == training.job.inputs


def test_a_result_that_is_not_whole_any_more_is_made_again(tmp_path: Path) -> None:
    training = Training(tmp_path)
    version = training.run().version
    (training.store.path(CHECKPOINTS, version) / "passport.json").write_text("{} ")
    assert training.run().version == version and training.count == 2
    training.store.check(CHECKPOINTS, version)


def test_work_that_is_taken_up_again_is_young_again(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.run()
    (training.scratch / RESULT).unlink()
    os.utime(training.scratch / JOB, (0, 0))
    training.run()
    assert (training.scratch / JOB).stat().st_mtime > 0
    assert json.loads((training.scratch / JOB).read_text())["stage"] == "sft_checkpoint"


def test_a_result_of_another_version_is_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    training = Training(tmp_path)
    training.run()
    (training.scratch / RESULT).write_text('{"kind": "checkpoints"}')
    with caplog.at_level("INFO", logger="personamem"):
        training.run()
    assert training.count == 2 and "not as this version writes it" in caplog.text


@pytest.mark.parametrize(
    "other", [{"code_version": "other"}, {"inputs": {"training_dataset": "1" * 64}}, {"inputs": {}}]
)
def test_another_work_in_the_same_directory_is_done(other: dict[str, object], tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.run()
    training.run(**other)
    assert training.count == 2
    training.run(**other)
    assert training.count == (2 if other.get("inputs", True) else 3), (
        "without parents nothing names what it is made from"
    )


def test_a_report_is_made_anew_and_so_is_what_no_check_lets_pass(tmp_path: Path) -> None:
    report, broken = Training(tmp_path / "a", "reports"), Training(tmp_path / "b")
    broken.loss = float("nan")
    for training in (report, broken):
        training.run()
        training.run()
        assert training.count == 2


def test_a_commit_that_is_none_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("personamem_pipeline.stage.PROJECT", tmp_path)  # an image has no working tree
    monkeypatch.setenv("PERSONAMEM_GIT_COMMIT", "v1.0-3-gabc")
    training = Training(tmp_path)
    with pytest.raises(UserError, match="is no commit") as refused:
        training.run()
    assert training.count == 0 and "--exclude='*'" in str(refused.value)
