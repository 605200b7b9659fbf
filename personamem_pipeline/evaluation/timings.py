"""How long one waits: seconds per write turn and per answer of every system.

Equal answers make an equal report, byte for byte, so times are no part of it: the journals keep them as they were when the
model was asked, and they are shown and kept beside the report. A *wait* is the time until the engine had worked off the
batch that a reply was in; of engines that do not tell (vLLM, endpoints) it is the whole call's. It depends on the machine,
on what else ran there, and on `evaluation.batch_size`, and so compares systems of one evaluation, not evaluations. What is
spent per turn, the time divided by the replies that share it, is shown beside.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from personamem_pipeline.evaluation.journal import Journal
from personamem_pipeline.evaluation.records import Outputs
from personamem_pipeline.evaluation.report.markdown import cell
from personamem_pipeline.evaluation.report.page import environment

DATA, PAGE = "timings.json", "timings.html"


@dataclass(frozen=True)
class Waits:
    """Seconds of one kind of call, over a whole benchmark."""

    count: int
    each: float
    """All seconds divided by the number of replies."""
    median: float
    """Of the waits; like `p95` one that occurred."""
    p95: float


@dataclass(frozen=True)
class Timing:
    """One system. None where it made no such calls."""

    system: str
    label: str
    write: Waits | None
    answer: Waits | None


def timings(journals: Mapping[str, Journal], labels: Mapping[str, str]) -> list[Timing]:
    """The times of every system that asked a model; `labels`: what reports call the systems."""
    found = [_timing(name, label, journals[name]) for name, label in labels.items()]
    return [timing for timing in found if timing.write or timing.answer]


def _timing(name: str, label: str, journal: Journal) -> Timing:
    batches: Iterable[Outputs] = list(journal)
    write = _waits([wait for batch in batches for wait in batch.write_waits], sum(b.write_seconds for b in batches))
    answer = _waits([wait for batch in batches for wait in batch.answer_waits], sum(b.answer_seconds for b in batches))
    return Timing(name, label, write, answer)


def _waits(waits: Sequence[float], seconds: float) -> Waits | None:
    if not waits:
        return None
    median, p95 = np.percentile(waits, (50, 95), method="inverted_cdf")
    return Waits(len(waits), seconds / len(waits), float(median), float(p95))


def metrics(rows: Sequence[Timing]) -> dict[str, float]:
    """The figures by name, for Dagster and MLflow."""
    kinds = [(row.system, kind, own) for row in rows for kind, own in (("write", row.write), ("answer", row.answer))]
    return {
        f"seconds_{kind}_{figure}_{system}": getattr(own, figure)
        for system, kind, own in kinds
        if own is not None
        for figure in ("each", "median", "p95")
    }


def markdown(rows: Sequence[Timing]) -> str:
    """A table for Dagster's metadata."""
    lines = [
        "| system | kind | calls | s each | median wait | 95th percentile |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    lines += ["| " + " | ".join(map(cell, cells)) + " |" for cells in cells_of(rows)]
    return "\n".join(lines)


def cells_of(rows: Sequence[Timing]) -> list[tuple[str, ...]]:
    """The lines of a table: system, kind, how many, seconds each, median wait, 95th percentile."""
    return [
        (row.label, kind, f"{own.count:,}", *(seconds(value) for value in (own.each, own.median, own.p95)))
        for row in rows
        for kind, own in (("write turn", row.write), ("answer", row.answer))
        if own is not None
    ]


def seconds(value: float) -> str:
    """Seconds to three figures that count."""
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.4f}"


def files(rows: Sequence[Timing]) -> dict[str, bytes]:
    """The same as data and as a page, by the names of the files."""
    data = json.dumps([asdict(row) for row in rows], indent=1) + "\n"
    page = environment().get_template("timings.html.j2").render(lines=cells_of(rows))
    return {DATA: data.encode(), PAGE: page.encode()}


def write_beside(report: Path, rows: Sequence[Timing]) -> None:
    """Put the files into a report's directory that is no version of the store."""
    for name, data in files(rows).items():
        (report / name).write_bytes(data)
