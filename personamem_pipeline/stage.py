"""GPU stages as commands: `python -m personamem_pipeline.training.sft`, and so on.

A stage is told everything it needs in one typed `StageJob`: through Dagster Pipes when an asset started it, or with
`--job FILE` from a shell. It answers with one `StageResult`. The same command runs as a local process and in a pod.
SIGTERM, SIGINT and the end of Dagster's process mean: finish the step, save, exit 143; the next run with the same job goes
on from there.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from dagster_pipes import PipesContext, open_dagster_pipes
from pydantic import BaseModel, ConfigDict

from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import Preset
from personamem_pipeline.seeds import digest
from personamem_pipeline.store import Store, write_json_atomically

INTERRUPTED = 143
logger = logging.getLogger("personamem")


class StageJob(BaseModel):
    """What a stage process needs; only paths, digests and figures, never data or secrets."""

    model_config = ConfigDict(frozen=True)
    stage: str
    store: str
    inputs: dict[str, str]
    """Name of each parent -> its version in the store."""
    preset: Preset
    code_version: str
    scratch: str = ""
    """Where resumable steps live; empty: `<store>/scratch/<digest of this job>`."""
    mlflow_uri: str | None = None
    mlflow_run_id: str | None = None

    def scratch_directory(self) -> Path:
        """The directory for resumable work, named by inputs, configuration and code version; made if missing."""
        key = digest([self.stage, self.inputs, self.preset.digest, self.code_version])
        path = Path(self.scratch) if self.scratch else Store(self.store).root / "scratch" / f"{self.stage}-{key[:24]}"
        path.mkdir(parents=True, exist_ok=True)
        return path


class StageResult(BaseModel):
    """What a stage made. `version` becomes the asset's data version."""

    model_config = ConfigDict(frozen=True)
    kind: str
    version: str
    metrics: dict[str, float] = {}
    paths: dict[str, str] = {}
    notes: dict[str, str] = {}


class Interrupted(Exception):
    """The stage was asked to stop and has saved what it had."""


class Progress:
    """How a running stage hears of a stop and tells of its progress."""

    def __init__(self) -> None:
        self._stopped = False
        self._starter: int | None = None

    def listen(self, *, starter: int | None = None) -> None:
        """Turn SIGTERM and SIGINT into `stop_requested`, and so the death of the process that started this one.

        An orchestrator that was killed can send no signal, and a training that nobody waits for would block the machine.
        """
        self._starter = starter
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    @property
    def stop_requested(self) -> bool:
        """Whether to save and end now."""
        return self._stopped or (self._starter is not None and os.getppid() != self._starter)

    def stop(self) -> None:
        """Ask the stage to save and end."""
        self._stopped = True

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stop()
        logger.info("received %s: saving, then stopping", signal.Signals(number).name)

    def say(self, message: str, *values: object) -> None:
        """One log line, for people who watch the terminal or Dagster's compute log."""
        logger.info(message, *values)


def run_stage(main: Callable[[StageJob, Progress], StageResult]) -> NoReturn:
    """Read the job, run `main`, report the result, and exit: 0 done, 2 bad input, 143 interrupted after saving."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    for chatty in ("httpx", "httpx2"):  # one line per model call
        logging.getLogger(chatty).setLevel(logging.WARNING)
    progress = Progress()
    from_dagster = "DAGSTER_PIPES_CONTEXT" in os.environ
    progress.listen(starter=os.getppid() if from_dagster else None)  # a shell may leave, and means its stage to go on
    try:
        if from_dagster:
            with open_dagster_pipes() as context:
                job = StageJob.model_validate(context.get_extra("job"))
                _report(context, _finish(main, job, progress))
        else:
            _finish(main, _job_from_arguments(), progress)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as stopped:
        logger.info("stopped: %s", stopped)
        sys.exit(INTERRUPTED)
    sys.exit(0)


def _job_from_arguments() -> StageJob:
    parser = argparse.ArgumentParser(description="Run one stage of personamem-pipeline.")
    parser.add_argument("--job", type=Path, required=True, help="a JSON file with a StageJob")
    return StageJob.model_validate_json(parser.parse_args().job.read_text())


def _finish(main: Callable[[StageJob, Progress], StageResult], job: StageJob, progress: Progress) -> StageResult:
    result = main(job, progress)
    write_json_atomically(job.scratch_directory() / "result.json", result.model_dump(mode="json"))
    progress.say("%s: %s %s", job.stage, result.kind, result.version)
    return result


def _report(context: PipesContext, result: StageResult) -> None:
    metadata: dict[str, Any] = {name: {"raw_value": value, "type": "float"} for name, value in result.metrics.items()}
    metadata |= {name: {"raw_value": path, "type": "path"} for name, path in result.paths.items()}
    metadata |= {name: {"raw_value": text, "type": "md"} for name, text in result.notes.items()}
    context.report_asset_materialization(metadata=metadata, data_version=result.version)
