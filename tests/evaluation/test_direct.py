"""`personamem evaluate` on a real tiny model: the whole way without Dagster, twice, and what is mistyped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from personamem_pipeline.cli import main
from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.direct import _training_of, content_digest, first_people
from personamem_pipeline.evaluation.source import Source
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.store import Store
from tests.evaluation.conftest import person, source_of

TINY = str(PROJECT / "models" / "tiny-base")
PROTOCOL = ["--chunk-tokens", "64", "--memory-tokens", "40", "--answer-tokens", "12"]


@pytest.fixture
def benchmark_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put_dataset: Callable[..., str], make_people: Callable[..., list]
) -> str:
    monkeypatch.setenv("PERSONAMEM_HOME", str(tmp_path / "home"))
    return put_dataset(Store(tmp_path / "home" / "store"), "benchmark", make_people(4), tmp_path / "rows")


def evaluate(*more: str, out: Path) -> int:
    return main(["evaluate", "--model", TINY, "--out", str(out), "--people", "3", *PROTOCOL, *more])


def test_a_model_directory_is_evaluated_and_its_answers_are_kept(
    benchmark_at: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readings = [part for name in ("swapped_history", "memory", "no_history") for part in ("--system", name)]
    assert evaluate(*readings, "--open", "--benchmark", benchmark_at[:8], "--json", out=tmp_path / "one") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["benchmark"]["questions"] == 12
    assert {row["name"] for row in told["systems"] if row["role"] != "guesser"} == {
        "memory", "no_history", "swapped_history",
    }  # fmt: skip
    assert (tmp_path / "one" / "report.html").is_file()
    results = json.loads((tmp_path / "one" / "results.json").read_text())
    assert results["open"][0]["n"] == 12 and results["leak_probe"][0]["equal"]
    journals = {path: path.read_bytes() for path in (tmp_path / "home").rglob("answers/*.jsonl")}
    assert evaluate(*readings, "--open", out=tmp_path / "two") == 0
    assert {path: path.read_bytes() for path in (tmp_path / "home").rglob("answers/*.jsonl")} == journals
    printed = capsys.readouterr().out
    assert "seconds, on this machine" in printed
    times = {row["system"]: row for row in json.loads((tmp_path / "two" / "timings.json").read_text())}
    assert times["memory"]["write"]["count"] > 0 and times["memory"]["answer"]["median"] > 0
    assert times["swapped_history"]["write"] is None
    for name in ("report.html", "results.json", "answers.parquet", "timings.json", "timings.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--system", "memmory"], "no system is called 'memmory'"),
        (["--benchmark", "nowhere"], "no benchmark is called 'nowhere'"),
        (["--released", "table.csv"], "--released and --root belong together"),
    ],
)
def test_what_is_mistyped_is_told_before_anything_is_loaded(
    arguments: list[str], problem: str, benchmark_at: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(*arguments, out=tmp_path / "out") == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", [["--orders", "25"], ["--temperature", "-1"], ["--people", "0"]])
def test_numbers_out_of_range_are_refused(option: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        evaluate(*option, out=tmp_path)


def test_swapping_alone_brings_the_memories_with_it(
    benchmark_at: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate("--system", "swapped_history", "--json", out=tmp_path / "out") == 0
    told = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in told["systems"]} >= {"swapped_history", "memory"}
    assert any("3 people are few" in remark for remark in told["remarks"])


def test_a_benchmark_is_known_by_its_content(source: Source) -> None:
    few = first_people(source, 3)
    assert list(few.by_person) == ["b000", "b001", "b002"]
    assert content_digest(few) == content_digest(source_of([person(index) for index in range(3)]))
    assert content_digest(few) != content_digest(source)


def test_a_model_whose_base_was_trained_here_is_not_asked(source: Source, tmp_path: Path) -> None:
    store, base = Store(tmp_path / "store"), tmp_path / "base"
    base.mkdir()
    papers = {"stage": "base_model", "inputs": {}, "code_version": "base/2", "source": {"stage": "sft_checkpoint"}}
    (base / "passport.json").write_text(json.dumps(papers))
    version = store.put_directory("checkpoints", base, parents={}, producer={}).version
    (tmp_path / "model").mkdir()
    grown = {"format": 2, "stage": "grpo_checkpoint", "inputs": {}, "code_version": "grpo/4", "base": version}
    (tmp_path / "model" / "passport.json").write_text(json.dumps(grown))
    for directory in (base, tmp_path / "model"):
        with pytest.raises(UserError, match="copied from a sft_checkpoint"):
            _training_of(directory, source, store)
    assert _training_of(tmp_path, source, store) == []
