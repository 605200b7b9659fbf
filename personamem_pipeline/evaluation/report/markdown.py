"""The report in a few lines of Markdown, for Dagster's metadata: headline, main test, what changed, the leak probe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from personamem_pipeline.evaluation.report import view
from personamem_pipeline.evaluation.report.wording import NOTHING, p_value, percent, points, span

Results = Mapping[str, Any]


def summary(results: Results) -> str:
    """Markdown without a heading; labels and ids are escaped."""
    parts = [
        " ".join(view.lead(results)),
        _headline(results),
        _leak_probe(results),
        _changes(results),
        _remarks(results),
    ]
    return "\n\n".join(part for part in parts if part)


def _headline(results: Results) -> str:
    lines = ["| system | accuracy | 95 % interval | unparseable |", "| --- | ---: | ---: | ---: |"]
    for _, systems in view.groups(results):
        for system in systems:
            known = system["low"] is not None
            interval = f"{percent(system['low'])} to {percent(system['high'])}" if known else "none: one person"
            unread = f"{system['unparseable']:,} of {system['n']:,}"
            lines.append(f"| {cell(system['label'])} | {percent(system['accuracy'])} | {interval} | {unread} |")
    return "\n".join(lines)


def _leak_probe(results: Results) -> str:
    rows = results["leak_probe"]
    if not rows:
        return "Leak probe: not run."
    leaking = [row for row in rows if not row["equal"]]
    if leaking:
        return (
            f"**Leak probe: the question reached the memories of {', '.join(cell(row['system']) for row in leaking)}.**"
        )
    people = max(row["people"] for row in rows)
    return (
        f"Leak probe: with the question blanked, swapped and poisoned, every memory of {len(rows)} systems "
        f"({people} people each at most) stayed the same, byte for byte."
    )


def _changes(results: Results) -> str:
    changes = results["changes"]
    if changes is None:
        return "Changes: there is no earlier report to compare with."
    lines = [
        f"Against report `{cell(changes['against'][:12])}`:",
        "",
        "| system | points | 95 % interval | p, corrected | won | lost |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for test in changes["tests"]:
        flips = changes["flipped_counts"].get(test["system"], {})
        gained, lost = (str(flips.get(key, NOTHING)) for key in ("gained", "lost"))
        cells = [
            cell(test["system"]), points(test["difference"]), span(test["low"], test["high"]),
            p_value(test["p_corrected"]), gained, lost,
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _remarks(results: Results) -> str:
    remarks = [*results["remarks"], *results["provenance"].get("remarks", [])]
    return "\n".join(f"- {cell(remark)}" for remark in remarks)


def cell(text: str) -> str:
    """One line of a table, with nothing in it that Markdown or HTML would read."""
    kept = " ".join(str(text).split()).replace("\\", "\\\\").replace("|", "\\|").replace("`", "'")
    return kept.replace("&", "&amp;").replace("<", "&lt;")
