"""A stand-in for a GPU stage in a pod, and for the same one as a local process. `TINY_POD` says how it behaves:

done, refuse, crash, silent, speechless (it says only that it has nothing to say), wait (until a file `go` is beside the
store, or until it is asked to stop: then it saves and counts up), talk (many lines, then waits for `go`), bar (its last
words before the report have no newline).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from dagster_pipes import PipesContext

from personamem_pipeline.errors import UserError
from personamem_pipeline.progress import Interrupted, Progress
from personamem_pipeline.stage import run_stage
from personamem_pipeline.stage_job import StageJob, StageResult


def wait_for_go(here: Path) -> None:
    deadline = time.monotonic() + 60
    while not (here / "go").exists():
        if time.monotonic() > deadline:
            sys.exit(7)
        time.sleep(0.02)


def main(job: StageJob, progress: Progress) -> StageResult:
    how = os.environ.get("TINY_POD", "done")
    here = Path(job.store).parent
    steps = job.scratch_directory() / "steps"
    if how == "refuse":
        raise UserError("no rows", where="somewhere", remedy="materialize it again")
    if how == "crash":
        raise RuntimeError("out of luck")
    if how == "silent":
        os._exit(0)
    if how == "speechless":
        PipesContext.get().close()
        os._exit(0)
    if how == "talk":
        for number in range(2000):
            progress.say("line %d", number)
        wait_for_go(here)
    if how == "bar":
        sys.stderr.write("\r 99%|#########9| 99/100")
        sys.stderr.flush()
    if how == "wait":
        (here / "environment").write_text("\n".join(f"{name}={value}" for name, value in os.environ.items()))
        saved = int(steps.read_text()) if steps.exists() else 0
        (here / "waiting").write_text(f"{os.getpid()} {saved}")
        progress.say("waiting from step %d on", saved)
        deadline = time.monotonic() + 60
        while not (here / "go").exists():
            if progress.stop_requested:
                steps.write_text(str(saved + 1))
                progress.say("saved step %d", saved + 1)
                raise Interrupted(f"saved step {saved + 1}")
            if time.monotonic() > deadline:
                sys.exit(7)
            time.sleep(0.02)
        return StageResult(kind="things", version=f"v-{saved}", metrics={"answer": 42.0})
    return StageResult(kind="things", version="v-0", metrics={"answer": 42.0}, notes={"note": "*words* " + "x" * 9000})


if __name__ == "__main__":
    run_stage(main)
