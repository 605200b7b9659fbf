"""The report's directory: the page, its figures, and the same as JSON and Parquet, without dates, times or paths."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from personamem_pipeline.arrow import write_parquet
from personamem_pipeline.evaluation.curves import Points
from personamem_pipeline.evaluation.report import plots
from personamem_pipeline.evaluation.report.page import render
from personamem_pipeline.records import Record

SHOWN = ("shown", "memories")
"""Parts of the results that are for reading one by one; they have a file of their own, so that results.json stays small."""


def write_report(
    directory: Path,
    results: Mapping[str, Any],
    *,
    curves: Mapping[str, Points],
    rows: Mapping[str, tuple[type[Record], Iterable[Record]]],
    pooled: Mapping[str, Any] | None = None,
) -> None:
    """Write a report into `directory`; the same results are the same bytes.

    report.html (the page), results.json (all figures), shown.json (the questions shown one by one, and memories),
    `<name>.parquet` for each entry of `rows` (read once, a few hundred rows at a time), plots/ (each figure as SVG and PNG).
    """
    directory.mkdir(parents=True, exist_ok=True)
    inline = {
        name: plots.publish(figure, directory / "plots", name, said)
        for name, (figure, said) in plots.figures(results, curves, pooled).items()
    }
    narrow = {
        name: plots.inline(figure, f"{name}-narrow", said)
        for name, (figure, said) in plots.figures(results, {}, None, narrow=True).items()
    }
    (directory / "report.html").write_text(render(results, inline, pooled, narrow), encoding="utf-8", newline="\n")
    kept = {name: value for name, value in results.items() if name not in SHOWN}
    _write_json(directory / "results.json", {**kept, "curves": curves, "pooled": pooled})
    _write_json(directory / "shown.json", {name: results[name] for name in SHOWN})
    for name, (record, records) in rows.items():
        write_parquet(directory / f"{name}.parquet", record, records)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
