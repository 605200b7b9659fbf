"""A stand-in for a GPU stage, run by the real LocalProcess: stores a tiny checkpoint or report in a second.

`PERSONAMEM_TEST_STAGE` makes one stage misbehave: `<stage>=<how>`, with how one of refuse, crash, silent,
wrong_passport, cut, nan, few_answers, leak, worse, wait.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

from personamem_pipeline.errors import UserError
from personamem_pipeline.progress import Interrupted, Progress
from personamem_pipeline.questions.gather import read_questions
from personamem_pipeline.stage import run_stage
from personamem_pipeline.stage_job import StageJob, StageResult
from personamem_pipeline.store import Store

KINDS = {"benchmark_report": "reports"}


def main(job: StageJob, progress: Progress) -> StageResult:
    stage, _, how = os.environ.get("PERSONAMEM_TEST_STAGE", "").partition("=")
    how = how if stage == job.stage else ""
    if how == "refuse":
        raise UserError("the dataset has no rows", where="somewhere", remedy="materialize it again")
    if how == "crash":
        raise RuntimeError("out of luck")
    if how == "silent":
        os._exit(0)
    if how == "wait":
        (job.scratch_directory() / "waiting").write_text(str(os.getpid()))
        deadline = time.monotonic() + 30
        while not progress.stop_requested and time.monotonic() < deadline:
            time.sleep(0.02)
        (job.scratch_directory() / "saved").write_text("step 1")
        raise Interrupted("saved step 1")
    store = Store(job.store)
    kind = KINDS.get(job.stage, "checkpoints")
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        if kind == "reports":
            asked = len(read_questions(store, "benchmark", job.inputs["benchmark"]))
            write_report(directory, asked, how, job.inputs.get("previous"))
        else:
            inputs = {**job.inputs, **({"training_dataset": "0" * 64} if how == "wrong_passport" else {})}
            passport = {"stage": job.stage, "inputs": inputs, "code_version": job.code_version}
            (directory / "passport.json").write_text(json.dumps(passport))
            (directory / "config.json").write_text("{}")
            (directory / "model.safetensors").write_bytes(f"{job.stage} {job.preset.digest}".encode())
        made = {"stage": job.stage, "code_version": job.code_version}
        manifest = store.put_directory(kind, directory, parents=job.inputs, producer=made)
    if how == "cut":
        (store.path(kind, manifest.version) / "model.safetensors").write_bytes(b"")
    progress.say("made %s", job.stage)
    loss = float("nan") if how == "nan" else 0.5
    return StageResult(kind=kind, version=manifest.version, metrics={"loss": loss}, notes={"how": "*tiny*"})


def write_report(directory: Path, asked: int, how: str, previous: str | None) -> None:
    short = how == "few_answers"
    systems = [
        {"name": name, "accuracy": 0.25 + index / 10, "low": 0.2, "high": 0.6, "n": asked * 2 - short * index}
        for index, name in enumerate(("base", "sft", "grpo"))
    ]
    probe = {
        "system": "grpo",
        "causal": True,
        "equal": how != "leak",
        "steps": 9,
        "first_difference": {"subject": "p1"},
    }
    lost = {"system": "grpo", "question_id": "q1", "order": 0, "before": True, "after": False}
    changes = {"against": previous, "tests": [{"system": "grpo"}], "flipped": [lost], "flipped_counts": {"grpo": {}}}
    results = {
        "benchmark": {"questions": asked, "option_orders": 2}, "systems": systems, "leak_probe": [probe], "remarks": [],
        "changes": changes if previous else None,
        "regressions": ["grpo fell by 9.0 points"] if how == "worse" else [],
    }  # fmt: skip
    (directory / "results.json").write_text(json.dumps(results))
    (directory / "report.html").write_text("<p>tiny</p>")


if __name__ == "__main__":
    run_stage(main)
