"""A stage that runs elsewhere comes back as one materialization, or as a failure that says why."""

from pathlib import Path

import dagster as dg
import pytest

from personamem_pipeline.presets import load_preset
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.stage import INTERRUPTED, REFUSED
from personamem_pipeline.stage_job import StageJob
from resources.compute import LocalProcess, stage_failure


def materialize(how: str, tmp_path: Path, *, processes: int) -> dg.ExecuteInProcessResult:
    demo = load_preset("demo")
    preset = demo.model_copy(update={"sft": demo.sft.model_copy(update={"processes": processes})})
    job = StageJob(
        stage="sft_checkpoint", store=str(tmp_path), scratch=str(tmp_path / "scratch"), inputs={}, preset=preset,
        code_version="test",
    )  # fmt: skip

    @dg.asset
    def sft_checkpoint(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        env = {"TINY_RANKS": how, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)}
        return LocalProcess(env=env).run(context, "tests.commands.tiny_ranks", job)

    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize([sft_checkpoint], instance=instance, raise_on_error=False)


def test_two_processes_are_one_materialization(tmp_path: Path) -> None:
    result = materialize("reduce", tmp_path, processes=2)
    assert result.success
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["sum"].value == 3.0
    assert event.materialization.tags is not None
    assert event.materialization.tags["dagster/data_version"] == "v"


@pytest.mark.parametrize("processes", [1, 2])
def test_a_refusal_is_told_in_the_stages_own_words(processes: int, tmp_path: Path) -> None:
    result = materialize("refuse", tmp_path, processes=processes)
    (failure,) = result.get_step_failure_events()
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    assert data.description == (
        "tests.commands.tiny_ranks refused its input\n"
        "error: somewhere: the dataset has no rows\n  to do:    materialize it again"
    )


@pytest.mark.parametrize(
    ("code", "told", "retry"),
    [
        (REFUSED, "refused its input", False),
        (INTERRUPTED, "saved its work", False),
        (-9, "killed by signal 9", True),
        (137, "killed by signal 9", True),
        (1, "failed with exit code 1", True),
    ],
)
def test_exit_codes_mean_something(code: int, told: str, retry: bool) -> None:
    failure = stage_failure("some.stage", code, "last words")
    assert told in (failure.description or "")
    assert failure.allow_retries is retry
    assert (failure.description or "").endswith("last words")


def test_a_refusals_words_begin_with_its_error() -> None:
    words = "a library warns: error: of its own\nerror: q.yaml: not YAML: error: tab\n  to do:    correct it"
    failure = stage_failure("some.stage", REFUSED, words)
    assert failure.description == (
        "some.stage refused its input\nerror: q.yaml: not YAML: error: tab\n  to do:    correct it"
    )
