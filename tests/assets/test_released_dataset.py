"""`dataset: released`: the same assets read released files instead of writing a dataset. The files are our own export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from personamem_pipeline.demo import failures
from personamem_pipeline.presets import DataConfig
from personamem_pipeline.questions.gather import GatheredKind, read_histories, read_questions
from personamem_pipeline.questions.released_cli import export_command
from tests.pipeline import DATA, Pipeline, small_preset

KINDS: tuple[GatheredKind, ...] = ("training_dataset", "benchmark")


def released(root: Path) -> DataConfig:
    """The small preset's data section, for the files under `root`."""
    data = small_preset().data.model_dump(mode="json")
    tables = {"training": ["benchmark/text/train.csv"], "benchmark": "benchmark/text/benchmark.csv"}
    return DataConfig.model_validate(
        {**data, "dataset": "released", "released": {"root": str(root), **tables}, "seeds": None}
    )


@pytest.fixture
def files(pipeline: Pipeline, tmp_path: Path) -> Path:
    """What the pipeline wrote, in the released layout."""
    export_command(list(KINDS), tmp_path / "files", pipeline.store)
    return tmp_path / "files"


def rows_of(pipeline: Pipeline, kind: GatheredKind) -> tuple[list[Any], list[Any]]:
    version = pipeline.metadata(kind)["version"]
    histories = read_histories(pipeline.store, kind, version)
    chats = sorted([[(message.role, message.content) for message in history.messages] for history in histories])
    questions = read_questions(pipeline.store, kind, version)
    return chats, sorted((q.user_query, q.correct_answer, q.incorrect_answers, q.pref_type) for q in questions)


def test_what_was_exported_is_read_back_by_the_same_assets(pipeline: Pipeline, files: Path, tmp_path: Path) -> None:
    home = tmp_path / "reader"
    (home / "dagster").mkdir(parents=True)
    with dg.DagsterInstance.local_temp(str(home / "dagster")) as instance:
        reader = Pipeline(home, instance, small_preset().model_copy(update={"data": released(files)}))
        result = reader.run(*DATA)
        assert result.success, failures(result)
        for kind in KINDS:
            assert rows_of(reader, kind) == rows_of(pipeline, kind)
        assert reader.metadata("questions", "00")["llm_calls"] == 0, "nobody is asked: the rows are there"
        card = Path(reader.metadata("benchmark")["card"]).read_text()
        assert "nobody certified them" in card and "not applicable" in card and "No model was asked." in card
        assert reader.stale()[0].name == "base_model"
        # Another file is another dataset: everything that reads it is stale.
        table = files / "benchmark/text/benchmark.csv"
        table.write_bytes(table.read_bytes().replace(b"self", b"others", 1))
        assert [stale.name for stale in reader.stale()][:2] == ["persona_seeds", "personas"]


def test_a_missing_table_is_named(empty: Pipeline, tmp_path: Path) -> None:
    empty.preset = empty.preset.model_copy(update={"data": released(tmp_path / "nowhere")})
    result = empty.run("persona_seeds")
    failure = result.get_step_failure_events()[0].step_failure_data.user_failure_data
    assert failure is not None and "nowhere" in (failure.description or "")
