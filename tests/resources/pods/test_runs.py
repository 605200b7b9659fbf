"""For whom a pod works."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from resources.pods.manifest import INSTANCE, RUN
from resources.pods.runs import instance_id, nobody_waits_for, run_is_over


def pod(run_id: str, database: str | None) -> dict[str, Any]:
    return {"metadata": {"labels": {RUN: run_id, **({INSTANCE: database} if database else {})}}}


@pytest.mark.parametrize(
    ("status", "over"),
    [
        ("STARTED", False),
        ("STARTING", False),
        ("CANCELING", False),
        ("FAILURE", True),
        ("CANCELED", True),
        ("SUCCESS", True),
    ],
)
def test_nobody_waits_for_a_run_that_is_over(status: str, over: bool, tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run = create_run_for_test(instance, status=dg.DagsterRunStatus(status)).run_id
        assert run_is_over(instance, run) is over
        assert nobody_waits_for(instance, pod(run, instance_id(instance))) is over


def test_of_another_database_s_runs_nothing_is_known(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        forgotten = str(uuid.uuid4())
        assert nobody_waits_for(instance, pod(forgotten, instance_id(instance)))
        assert not nobody_waits_for(instance, pod(forgotten, "another"))
        assert not nobody_waits_for(instance, pod(forgotten, None))
