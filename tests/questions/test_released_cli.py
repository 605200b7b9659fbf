"""What the command line does with released files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from personamem_pipeline.arrow import write_parquet
from personamem_pipeline.errors import UserError
from personamem_pipeline.questions.copying import HISTORIES, QUESTIONS
from personamem_pipeline.questions.released_cli import check_command, export_command
from personamem_pipeline.records import History, Persona, Question
from personamem_pipeline.store import Store
from tests.questions.released_files import small
from tests.rooms import rooms

NAMES = ("train", "val", "benchmark")


def test_the_report_is_printed_whatever_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small(tmp_path)
    tables = [tmp_path / f"text/{name}.csv" for name in NAMES]
    assert check_command(tables, tmp_path) == 0
    assert "split_overlap" in capsys.readouterr().out
    assert check_command(tables, tmp_path, as_json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["evidence"]["exact"] == 5 and len(report["rejections"]) == 1
    with pytest.raises(UserError, match="have faults"):
        check_command(tables, tmp_path, strict=True)
    assert "split_overlap" in capsys.readouterr().out  # printed before it is refused


def test_a_gathered_dataset_is_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, store = rooms(), Store(tmp_path / "store")
    persons = store.write_rows("personas", Persona, made.personas, parents={}, producer={})
    source = tmp_path / "source"
    source.mkdir()
    write_parquet(source / HISTORIES, History, [h for h in made.histories if h.split == "benchmark"])
    write_parquet(source / QUESTIONS, Question, [q for q in made.questions if q.split == "benchmark"])
    with pytest.raises(UserError, match="there is no benchmark yet"):
        export_command(["benchmark"], tmp_path / "out", store)
    store.put_directory("benchmark", source, parents={"personas/00": persons.version}, producer={})
    assert export_command(["benchmark"], tmp_path / "out", store) == 0
    assert "benchmark/text/benchmark.csv" in capsys.readouterr().out
    assert not (tmp_path / "out/benchmark/text/train.csv").exists()
    assert len(list((tmp_path / "out/data/chat_history_32k").iterdir())) == 8
