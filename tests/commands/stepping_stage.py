"""A stand-in for a training: some steps, each saved, of which the result is a digest of all.

A step's state follows from the step before it, so a run that was broken off and resumed ends with the version of an unbroken
one only if nothing was lost and nothing was done twice. `STEPS` and `STEP_SECONDS` say how many steps and how long each;
`SLOW_SAVE_SECONDS` how long saving takes after a stop was asked for. The scratch directory keeps `starts`, the step each
process began with.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from personamem_pipeline.progress import Interrupted, Progress
from personamem_pipeline.seeds import digest
from personamem_pipeline.stage import run_stage
from personamem_pipeline.stage_job import StageJob, StageResult
from personamem_pipeline.store import Store, write_json_atomically


def main(job: StageJob, progress: Progress) -> StageResult:
    steps, seconds = int(os.environ.get("STEPS", "4")), float(os.environ.get("STEP_SECONDS", "0.1"))
    scratch = job.scratch_directory()
    saved = scratch / "step.json"
    done: dict[str, Any] = {"step": 0, "state": digest([job.stage, job.preset.digest])}
    if saved.is_file():
        done = json.loads(saved.read_text())
    with (scratch / "starts").open("a") as starts:
        starts.write(f"{done['step']}\n")
    progress.say("starting at step %d of %d", done["step"], steps)
    while done["step"] < steps:
        if progress.stop_requested:
            time.sleep(float(os.environ.get("SLOW_SAVE_SECONDS", "0")))
            write_json_atomically(saved, done)
            raise Interrupted(f"saved step {done['step']}")
        time.sleep(seconds)
        done = {"step": done["step"] + 1, "state": digest([done["state"], done["step"]])}
        write_json_atomically(saved, done)
        progress.say("step %d of %d", done["step"], steps)
    with tempfile.TemporaryDirectory() as directory:
        passport = {"stage": job.stage, "inputs": job.inputs, "code_version": job.code_version}
        (Path(directory) / "passport.json").write_text(json.dumps(passport))
        (Path(directory) / "model.safetensors").write_text(done["state"])
        made = {"stage": job.stage, "code_version": job.code_version}
        manifest = Store(job.store).put_directory("checkpoints", Path(directory), parents=job.inputs, producer=made)
    return StageResult(kind="checkpoints", version=manifest.version, metrics={"steps": float(steps)})


if __name__ == "__main__":
    run_stage(main)
