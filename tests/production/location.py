"""A code location whose assets can tell when they ran beside each other. FIELD is a directory that all its runs share."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import dagster as dg

from assets.common import POOL

PATIENCE = 60
HOLD = 2.0


def field() -> Path:
    return Path(os.environ["FIELD"])


def wait_for(mark: str) -> None:
    """Wait until another run has left its mark."""
    deadline = time.monotonic() + PATIENCE
    while not (field() / mark).exists():
        if time.monotonic() > deadline:
            raise dg.Failure(f"{mark} did not run beside this run", allow_retries=False)
        time.sleep(0.05)


def meeting(name: str, *others: str) -> dg.AssetsDefinition:
    """An asset that is done once the others run, too."""

    @dg.asset(name=name, code_version="1")
    def meets() -> dg.MaterializeResult[None]:
        (field() / name).touch()
        for other in others:
            wait_for(other)
        return dg.MaterializeResult(data_version=dg.DataVersion(f"{name}-1"))

    return meets


def alone(name: str, before: str) -> dg.AssetsDefinition:
    """An asset of the GPU stages' pool; it notes when it ran."""

    @dg.asset(name=name, deps=[before], pool=POOL, code_version="1")
    def stands() -> dg.MaterializeResult[None]:
        (field() / name).touch()
        start = time.time()
        time.sleep(HOLD)
        (field() / f"{name}.json").write_text(json.dumps([start, time.time()]))
        return dg.MaterializeResult(data_version=dg.DataVersion(f"{name}-1"))

    return stands


@dg.asset(code_version="1")
def patient() -> None:
    """Runs until it is told to stop."""
    (field() / "patient").touch()
    time.sleep(PATIENCE)


defs = dg.Definitions(
    assets=[
        meeting("left", "right"),
        meeting("right", "left", "left_gpu"),
        alone("left_gpu", "left"),
        alone("right_gpu", "right"),
        patient,
    ],
    executor=dg.in_process_executor,
)
