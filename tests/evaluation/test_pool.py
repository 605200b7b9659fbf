"""Several trainings of one preset, pooled over the same people."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from personamem_pipeline.evaluation import pool
from personamem_pipeline.evaluation.__main__ import evaluate
from personamem_pipeline.memory.generators.scripted import ScriptedGenerator
from personamem_pipeline.progress import Progress
from personamem_pipeline.stage_job import StageJob
from tests.evaluation.conftest import another_seed, report_of

Load = Callable[[Path], ScriptedGenerator]


def test_seeds_are_pooled_by_command_and_in_the_report(
    job: StageJob, load_skilled: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [job, another_seed(job, tmp_path, 1, 0.8), another_seed(job, tmp_path, 2, 0.95)]
    made = [evaluate(one, Progress(), load_skilled) for one in jobs]
    paths = [result.paths["results"] for result in made]
    assert pool.main([*paths, "--out", str(tmp_path / "pooled")]) == 0
    summary = json.loads((tmp_path / "pooled" / "pool.json").read_text())
    assert [run["seed"] for run in summary["runs"]] == [0, 1, 2]
    assert summary["test"]["clusters"] == 8
    assert summary["test"]["n"] == 3 * 64
    assert summary["test"]["difference"] == pytest.approx(sum(run["difference"] for run in summary["runs"]) / 3)
    assert "pooled" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "pooled" / "pool.html").read_text()

    together = jobs[2].model_copy(
        update={"inputs": {**jobs[2].inputs, "seeds": f"{made[0].version},{made[1].version}"}}
    )
    text = (report_of(job, evaluate(together, Progress(), load_skilled)) / "report.html").read_text()
    assert "Several training seeds" in text


def test_a_seed_cannot_count_twice(
    job: StageJob, load_skilled: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = evaluate(job, Progress(), load_skilled).paths["results"]
    assert pool.main([path, path, "--out", str(tmp_path / "pooled")]) == 2
    assert "given twice" in capsys.readouterr().err
    assert not (tmp_path / "pooled").exists()


@pytest.mark.parametrize(
    ("seed", "section", "said"), [(0, {}, "given twice"), (1, {"steps": 9}, "the same training configuration")]
)
def test_only_trainings_that_differ_in_their_seed_are_pooled(
    seed: int, section: dict[str, int], said: str, job: StageJob, load_skilled: Load, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    other = another_seed(job, tmp_path, seed, 0.8, **section)
    paths = [evaluate(one, Progress(), load_skilled).paths["results"] for one in (job, other)]
    assert pool.main([*paths, "--out", str(tmp_path / "pooled")]) == 2
    assert said in capsys.readouterr().err


def test_pool_refuses_a_file_that_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text('{"format": 1')
    assert pool.main([str(tmp_path / "x.json"), "--out", str(tmp_path)]) == 2
    assert "x.json" in capsys.readouterr().err
