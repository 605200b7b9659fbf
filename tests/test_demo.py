from __future__ import annotations

import io
import json
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from personamem_pipeline.demo import bring_up_to_date, last_line, show
from tests.pipeline import Pipeline, small_preset


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.slow
def test_the_second_time_nothing_is_built_and_a_failure_is_told(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        pipeline = Pipeline(tmp_path, instance, small_preset())

        def again() -> Path | None:
            return bring_up_to_date(console, pipeline.definitions(), instance, pipeline.settings, pipeline.shards)

        with monkeypatch.context() as patch:
            patch.setenv("PERSONAMEM_TEST_STAGE", "sft_checkpoint=refuse")
            assert again() is None
        assert "sft_checkpoint failed:" in text(console)
        assert "the dataset has no rows" in text(console)
        report = again()
        assert report is not None and (report / "results.json").is_file()
        assert "Built 3 assets" in text(console)
        runs = instance.get_runs_count()
        assert again() == report
        assert instance.get_runs_count() == runs
        assert "Everything is up to date" in text(console)


def test_the_table_shows_intervals_and_where_the_report_is(tmp_path: Path, console: Console) -> None:
    systems = [
        {"name": "grpo", "label": "GRPO", "accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 8},
        {"name": "one", "accuracy": 0.25, "low": None, "high": None, "n": 8},
    ]
    (tmp_path / "results.json").write_text(json.dumps({"systems": systems}))
    show(console, tmp_path)
    assert "0.400 to 0.600" in text(console)
    assert str(tmp_path / "report.html") in text(console)
    assert "make ui" in text(console)


def test_the_last_line_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("")
    assert last_line(log) == ""
    log.write_text("one\ntwo [b]\n")
    assert last_line(log) == r"two \[b]"
