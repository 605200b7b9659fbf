"""GPU stages as commands: `python -m personamem_pipeline.training.sft`, and so on.

A stage is told everything it needs in one typed `StageJob`: through Dagster Pipes when an asset started it, or with
`--job FILE` from a shell. It answers with one `StageResult`. The same command runs as a local process and in a pod.
SIGTERM, SIGINT and the end of Dagster's process mean: finish the step, save, exit 143; the next run with the same job goes
on from there. A training that is done is not done again because somebody did not hear of it: the next run with the same job
answers with the same result.

Under `accelerate launch` (`personamem_pipeline.launch`) a stage is several processes, the ranks. All get the same job; rank
0 alone speaks to Dagster, stores the result and tells of progress.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from dagster_pipes import PipesContext, PipesDefaultContextLoader, PipesMappingParamsLoader, open_dagster_pipes
from pydantic import ValidationError

from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.launch import processes_of, stage_command
from personamem_pipeline.lineage import CHECKPOINTS
from personamem_pipeline.passports.code import check_stated
from personamem_pipeline.passports.making import attach_making, making_of
from personamem_pipeline.progress import Interrupted, Progress, started_by
from personamem_pipeline.settings import PROJECT, load_settings
from personamem_pipeline.stage_job import Finished, StageJob, StageResult
from personamem_pipeline.store import Store, write_json_atomically
from personamem_pipeline.store.runs import JOB, RESULT, drop_steps

REFUSED = 2
"""Exit code of a stage that was given something it cannot use; its last words say what to do."""
INTERRUPTED = 128 + signal.SIGTERM
"""Exit code of a stage that was asked to stop and saved its work."""
logger = logging.getLogger("personamem")


def from_dagster() -> bool:
    """Whether an asset started this process; else somebody did, with `--job FILE`."""
    return "DAGSTER_PIPES_CONTEXT" in os.environ


def run_stage(main: Callable[[StageJob, Progress], StageResult]) -> NoReturn:
    """Read the job, run `main`, report the result, and exit: 0 done, 2 bad input, 143 interrupted after saving.

    Every rank runs `main`; what ranks other than 0 return is not looked at. torchrun ends all ranks as soon as one fails,
    so when they are interrupted the others leave with 0 and do not cut short what rank 0 still saves.
    """
    progress = Progress(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))  # torchrun's variables
    _log(progress)
    launched = progress.processes > 1
    # A shell may leave, and means its stage to go on; a launcher that is gone does not.
    progress.listen(starter=started_by() if from_dagster() or launched else None)
    if progress.is_main:
        progress.beat()
    try:
        if from_dagster() and progress.is_main:
            with open_dagster_pipes() as context:
                job = StageJob.model_validate(context.get_extra("job"))
                _report(context, _finish(main, job, progress))
        else:
            _finish(main, _job_of_another_rank() if from_dagster() else _job_from_arguments(), progress)
    except UserError as error:
        if not (launched and _leave_word(str(error))):
            print(f"error: {error}", file=sys.stderr)
        sys.exit(REFUSED)
    except Interrupted as stopped:
        logger.info("stopped: %s", stopped)
        sys.exit(INTERRUPTED if progress.is_main else 0)
    except Exception:
        if launched:
            _leave_word(traceback.format_exc())
        raise
    sys.exit(0)


def _log(progress: Progress) -> None:
    """One line per event on stdout: what rank 0 tells, and what other ranks warn of."""
    who = "" if progress.is_main else f"rank {progress.rank}: "
    logging.basicConfig(
        level=logging.INFO if progress.is_main else logging.WARNING,
        format=f"%(asctime)s {who}%(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stdout,
    )
    quiet_libraries()


def quiet_libraries() -> None:
    """No line per model call, or per search."""
    for chatty in ("httpx", "httpx2", "bm25s"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _leave_word(words: str) -> bool:
    """Write why this rank failed where torchrun and our launcher look for it; False where nobody does."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file:
        Path(file).write_text(json.dumps({"message": words, "timestamp": int(time.time())}))
    return bool(file)


def _job_from_arguments() -> StageJob:
    parser = argparse.ArgumentParser(description="Run one stage of personamem-pipeline.")
    parser.add_argument("--job", type=Path, required=True, help="a JSON file with a StageJob")
    return StageJob.model_validate_json(parser.parse_args().job.read_text())


def _job_of_another_rank() -> StageJob:
    """The job from Dagster's context alone: a second writer of messages would end the session for rank 0."""
    with PipesDefaultContextLoader().load_context(PipesMappingParamsLoader(os.environ).load_context_params()) as data:
        return StageJob.model_validate((data["extras"] or {})["job"])


def _finish(main: Callable[[StageJob, Progress], StageResult], job: StageJob, progress: Progress) -> StageResult:
    _check_processes(job, progress.processes)
    settings = load_settings()  # an unusable one is told before the work, not after it
    check_stated(PROJECT, settings.git_commit)
    scratch = job.scratch_directory()
    before = _finished_before(job, progress)
    if before is None and progress.is_main:
        _begin(job, scratch)
    result = before or main(job, progress)
    if progress.is_main:
        store, makings = Store(job.store), []
        if result.kind == CHECKPOINTS:
            own = making_of(
                store, result.version, settings,
                origin=job.origin, mlflow_run=job.mlflow_run_id, answered=before is not None,
            )  # fmt: skip
            # The training's own once more: its run may have ended before it could attach it.
            makings = [before.making, own] if before and before.making else [own]
        # From here on nothing that fails costs more than this again: the result first, its steps last.
        if before is None:
            told = Finished(**result.model_dump(), job=job.scratch_name, making=makings[0] if makings else None)
            write_json_atomically(scratch / RESULT, told.model_dump(mode="json"))
        for making in makings:
            attach_making(store, making)
        drop_steps(scratch)
        progress.say("%s: %s %s", job.stage, result.kind, result.version)
    return result


def _begin(job: StageJob, scratch: Path) -> None:
    """Say in the scratch directory what the work is and that it is not done: garbage collection goes by it, and by the
    age of what it says."""
    (scratch / RESULT).unlink(missing_ok=True)
    if (scratch / JOB).is_file():  # the very file that `--job` named, perhaps
        (scratch / JOB).touch()
    else:
        write_json_atomically(scratch / JOB, job.model_dump(mode="json", exclude={"mlflow_uri", "mlflow_run_id"}))


def _finished_before(job: StageJob, progress: Progress) -> Finished | None:
    """The result of the same training, if it is whole in the store.

    Every rank comes to the same answer by itself, from files that none of them changes to the better: one that trained
    alone would wait for ever. A report is made anew, as its journal makes that cheap; so is what has no parents, because
    the work's name does not say what it was made from; so is what no check would let pass.
    """
    path = job.scratch_directory() / RESULT
    try:
        result = Finished.model_validate_json(path.read_text())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        progress.say("%s is not as this version writes it, so the work is done again: %s", path, error)
        return None
    if not job.inputs or result.job != job.scratch_name:
        return None
    if result.kind != CHECKPOINTS or not all(math.isfinite(value) for value in result.metrics.values()):
        return None
    try:
        Store(job.store).check(result.kind, result.version)
    except IntegrityError as error:
        progress.say("%s was finished before, and its result is not whole any more: %s", job.stage, error)
        return None
    progress.say("%s was finished before; delete %s to train it again", job.stage, path)
    return result


def _check_processes(job: StageJob, running: int) -> None:
    """Refuse to train with other batches than the preset says: its figures are per process."""
    asked = processes_of(job.stage, job.preset)
    if asked != running:
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        module = spec.name.removesuffix(".__main__") if spec else sys.argv[0]
        command = shlex.join([*stage_command(module, asked, python="python"), *sys.argv[1:]])
        raise UserError(
            f"{job.stage} runs as {running} process(es), and the preset asks for {asked}",
            where=f"preset {job.preset.name}",
            remedy=f"run {command}, or set `processes` to {running} in the preset's section",
        )


def _report(context: PipesContext, result: StageResult) -> None:
    metadata: dict[str, Any] = {name: {"raw_value": value, "type": "float"} for name, value in result.metrics.items()}
    metadata |= {name: {"raw_value": path, "type": "path"} for name, path in result.paths.items()}
    metadata |= {name: {"raw_value": text, "type": "md"} for name, text in result.notes.items()}
    context.report_asset_materialization(metadata=metadata, data_version=result.version)
