"""The benchmark report: one HTML page that needs nothing else, beside the same figures as JSON and Parquet.

The page is a Jinja template (`report.html.j2`) over `results.json`. Values are escaped, as model output is shown. There
are no dates, times or paths in it: the same answers give the same bytes, so that a report's digest is its content's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.parquet as pq
from markupsafe import Markup

from personamem_pipeline.arrow import arrow_schema, to_arrow
from personamem_pipeline.evaluation import plots
from personamem_pipeline.evaluation.curves import Points
from personamem_pipeline.records import Record

NOTHING = "\N{EN DASH}"
"""What stands for a figure that is not known."""
CURVE_LABELS = {"sft loss": ("SFT loss (nats per target token)", "sft"), "grpo reward": ("GRPO mean reward", "grpo")}


def write_report(
    directory: Path,
    results: Mapping[str, Any],
    *,
    curves: Mapping[str, Points],
    rows: Mapping[str, tuple[type[Record], Sequence[Record]]],
    pooled: Mapping[str, Any] | None = None,
) -> None:
    """Write report.html, results.json, one Parquet file per entry of `rows`, and plots/ into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    figures = {"headline": plots.headline(results), "by_type": plots.by_type(results)}
    for name, points in curves.items():
        label, stage = CURVE_LABELS[name]
        figures[name.replace(" ", "_")] = plots.curve(points, label=label, colour=plots.COLOURS[stage])
    if pooled:
        figures["seeds"] = plots.seeds(pooled)
    for name, figure in figures.items():
        plots.save(figure, directory / "plots", name)
    inline = {name: plots.inline_svg(figure, name, name.replace("_", " ")) for name, figure in figures.items()}
    (directory / "report.html").write_text(render(results, inline, pooled))
    text = json.dumps({**results, "curves": curves, "pooled": pooled}, indent=1, sort_keys=True)
    (directory / "results.json").write_text(text + "\n")
    for name, (record, records) in rows.items():
        table = pa.Table.from_pylist([to_arrow(row) for row in records], schema=arrow_schema(record))
        pq.write_table(table, directory / f"{name}.parquet", compression="zstd")


def render(results: Mapping[str, Any], figures: Mapping[str, str], pooled: Mapping[str, Any] | None = None) -> str:
    """The page's HTML."""
    systems = {system["name"]: system for system in results["systems"]}
    template = _environment().get_template("report.html.j2")
    return template.render(
        r=results,
        systems=systems,
        models=[name for name, system in systems.items() if system["role"] == "model"],
        figures={name: Markup(svg) for name, svg in figures.items()},
        pooled=pooled,
        slice_values=slice_values(results),
    )


def render_pool(summary: Mapping[str, Any], figure: str) -> str:
    """A page with only the section on several seeds."""
    return _environment().get_template("pool.html.j2").render(pooled=summary, figures={"seeds": Markup(figure)})


def slice_values(results: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Dimension -> slice -> system -> row: the table's layout of `results["slices"]`."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for system, dimensions in results["slices"].items():
        for dimension, rows in dimensions.items():
            for row in rows:
                found.setdefault(dimension, {}).setdefault(row["value"], {})[system] = row
    return found


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("personamem_pipeline.evaluation", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "p": p_value, "count": lambda value: f"{value:,.0f}"}
    return environment


def percent(value: float | None, digits: int = 1) -> str:
    """`0.1234` as `12.3 %`; a dash for what is not known."""
    return NOTHING if value is None else f"{100 * value:.{digits}f} %"


def p_value(value: float | None) -> str:
    """A p value as one reads it; a dash where there was no test."""
    if value is None:
        return NOTHING
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.1e}"
