"""A stage hears of its end from whoever started it, also when that one can no longer speak."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from personamem_pipeline.settings import PROJECT
from personamem_pipeline.stage import Progress

CHILD = """
import os, sys, time
from pathlib import Path
from personamem_pipeline.stage import Progress
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
