"""The report's directory."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from personamem_pipeline.evaluation.records import MemoryStep
from personamem_pipeline.evaluation.report import write_report
from tests.evaluation.report import sample

STEP = MemoryStep(
    subject="p", index=0, turns=("t",), memory="- tea", kept="", input_tokens=1, output_tokens=1, memory_tokens=1
)


def test_same_results_same_bytes_and_all_files(tmp_path: Path) -> None:
    for turn in ("first", "second"):
        write_report(
            tmp_path / turn,
            sample.gapped(),
            curves={},
            rows={"memories": (MemoryStep, iter([STEP])), "answers": (MemoryStep, [])},
        )
    files = {path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*") if path.is_file()}
    assert {str(path) for path in files if path.parent == Path()} == {
        "report.html", "results.json", "shown.json", "memories.parquet", "answers.parquet",
    }  # fmt: skip
    for path in files:
        assert (tmp_path / "first" / path).read_bytes() == (tmp_path / "second" / path).read_bytes()
    kept = json.loads((tmp_path / "first" / "results.json").read_text())
    assert not {"shown", "memories"} & set(kept)
    assert kept["curves"] == {} and kept["pooled"] is None
    assert set(json.loads((tmp_path / "first" / "shown.json").read_text())) == {"shown", "memories"}
    assert pq.read_table(tmp_path / "first" / "memories.parquet").to_pylist()[0]["memory"] == "- tea"
    assert pq.read_table(tmp_path / "first" / "answers.parquet").num_rows == 0
