"""The page over results that scoring really made: a report, and the next one, which is compared with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

from personamem_pipeline.evaluation.records import Answer
from personamem_pipeline.evaluation.report import summary, write_report
from personamem_pipeline.evaluation.results import build, load
from personamem_pipeline.evaluation.scoring.changes import changes
from personamem_pipeline.evaluation.source import Source
from personamem_pipeline.presets import MemoryConfig, RegressionConfig
from tests.evaluation.report.test_page import Reader
from tests.evaluation.scoring.test_results import BUILD, Runs, asked

VERSIONS = {"versions": {"benchmark": "b" * 64}}


def written(directory: Path, found: dict[str, Any], runs: Runs) -> str:
    rows = {"answers": (Answer, chain.from_iterable(run.answers for run in runs.values()))}
    write_report(directory, found, curves={}, rows=rows)
    return (directory / "report.html").read_text()


def test_a_report_and_the_next_one(
    source: Source, memory: MemoryConfig, model: Callable[[float], Any], tmp_path: Path
) -> None:
    runs = asked(source, memory, model)
    html = written(tmp_path / "first", build(source, runs, provenance=VERSIONS, **BUILD), runs)
    text = " ".join(" ".join(Reader(html).text).split())
    assert "“grpo” answers 100.0" in text
    assert "Not compared: there is no earlier report" in text
    assert not re.search(r"\bNone\b|\bnan\b", text)
    assert html.count('<details class="q"') == BUILD["shown_questions"]
    assert "lines as before" in text or "line as before" in text, "memories are there, chunk by chunk"

    worse = asked(source, memory, model, grpo=0.5)
    moved = changes(
        worse, tmp_path / "first", benchmark="b" * 64, orders=source.orders, seed=source.seed, resamples=300, reading={}
    )
    found = build(
        source,
        worse,
        provenance=VERSIONS,
        changes=moved,
        regression=RegressionConfig(systems=("grpo",), p=0.9),
        **BUILD,
    )
    html = written(tmp_path / "second", found, worse)
    assert "Rows that flipped" in html
    assert found["regressions"] and "Regression.</b> grpo fell by" in html
    assert "| grpo | \N{MINUS SIGN}" in summary(found)
    assert load(tmp_path / "second" / "results.json")["changes"]["against"] == "first"
    assert json.loads((tmp_path / "second" / "shown.json").read_text())["shown"] == found["shown"]
