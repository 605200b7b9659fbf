"""Parts of a model card that several sections need, and the one with the benchmark's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(values: Mapping[str, Any]) -> str:
    """A table of names and values; nested ones under dotted names. Empty when there are none."""
    if not values:
        return ""
    rows = [f"| {cell(name)} | {cell(value)} |" for name, value in _flat(values)]
    return "\n".join(["| | |", "| --- | --- |", *rows])


def _flat(values: Mapping[str, Any], prefix: str = "") -> Sequence[tuple[str, Any]]:
    """Nested figures under dotted names; what is not set is left out."""
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}.")
        elif value is not None and value != "":
            found.append((f"{prefix}{name}", value))
    return found


def cell(text: Any) -> str:
    """One line of a table, with nothing in it that Markdown or HTML would read."""
    kept = " ".join(str(text).split()).replace("\\", "\\\\").replace("|", "\\|").replace("`", "'")
    return kept.replace("&", "&amp;").replace("<", "&lt;")


def results_text(model: str | None, results: Mapping[str, Any], report: str | None) -> str:
    """The benchmark's table with the rows of `model` (as the report calls it) in bold, and what was probed and compared."""
    benchmark = results["benchmark"]
    asked = f"{benchmark['questions']:,} questions in {benchmark['option_orders']} option orders"
    lines = [
        f"{asked}, about people that no training row knows; from report `{(report or '')[:12]}`. Guessing gives 25 %. "
        "Intervals are 95 %, clustered by person. Rows in bold are this model's.",
        "",
        "| system | accuracy | interval |",
        "| --- | ---: | ---: |",
    ]
    for row in results["systems"]:
        known = row.get("low") is not None and row.get("high") is not None
        cells = [
            cell(row.get("label") or row["name"]),
            f"{100 * row['accuracy']:.1f} %",
            f"{100 * row['low']:.1f} to {100 * row['high']:.1f}" if known else "none",
        ]
        own = row.get("model") == model
        lines.append("| " + " | ".join(f"**{each}**" if own else each for each in cells) + " |")
    return "\n".join([*lines, "", _leaks(results), *_regressions(results)])


def _leaks(results: Mapping[str, Any]) -> str:
    probes = [row for row in results.get("leak_probe", ()) if row["causal"]]
    if not probes:
        return "Whether a memory changes with the question that comes after it was not probed."
    leaking = [cell(row["system"]) for row in probes if not row["equal"]]
    if leaking:
        return f"**The question reached the memories of {', '.join(leaking)}.**"
    names = ", ".join(cell(row["system"]) for row in probes)
    return f"Leak probe ({names}): no memory changed when the question that comes after it was changed."


def _regressions(results: Mapping[str, Any]) -> list[str]:
    found = results.get("regressions")
    if found is None:
        return ["It was not compared with an earlier report."]
    return [f"Against the report before: {cell('; '.join(found)) if found else 'no regression'}."]


def remarks(results: Mapping[str, Any] | None) -> list[str]:
    """What the report remarks, as list items."""
    return [f"- {cell(remark)}" for remark in (results or {}).get("remarks", ())]
