"""The commands about anchors: hand answers out to people for scoring, and hold the judges against what they said."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personamem_pipeline.errors import UserError

if TYPE_CHECKING:
    from personamem_pipeline.evaluation.judging.anchors import Anchors
    from personamem_pipeline.evaluation.judging.drawing import Judged

COUNT = 60


def add_anchor_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `anchors make` and `anchors check` to the commands of `personamem`."""
    anchors = commands.add_parser("anchors", help="human scores of open answers, to hold the judges against")
    own = anchors.add_subparsers(required=True, metavar="COMMAND")

    make = own.add_parser("make", help="draw answers of a report into a CSV file (and a page) to be scored")
    make.set_defaults(run=_make)
    make.add_argument("--report", type=Path, required=True, metavar="DIR", help="the directory of a benchmark report")
    make.add_argument("--out", type=Path, required=True, metavar="FILE.csv")
    make.add_argument("--page", type=Path, metavar="FILE.html", help="also a page to score them on, in any browser")
    make.add_argument("--count", type=int, default=COUNT, metavar="N", help=f"how many answers; default {COUNT}")
    make.add_argument("--seed", type=int, default=0, metavar="N", help="another seed draws other answers")
    make.add_argument("--benchmark", type=Path, metavar="DIR", help="the report's benchmark, if the store has it not")

    check = own.add_parser("check", help="read scored files back, and say how far the report's judges agree with them")
    check.set_defaults(run=_check)
    check.add_argument("files", type=Path, nargs="+", metavar="FILE.csv", help="one or more, of one or more people")
    check.add_argument("--report", type=Path, required=True, metavar="DIR")
    check.add_argument("--benchmark", type=Path, metavar="DIR", help="the report's benchmark, if the store has it not")
    check.add_argument("--merge", type=Path, metavar="FILE.csv", help="also write all scores into one file")


def _make(arguments: argparse.Namespace) -> None:
    from personamem_pipeline.errors import UserError
    from personamem_pipeline.evaluation.judging import anchors, anchors_page, drawing

    if arguments.count < 1:
        raise UserError(f"{arguments.count} answers", where="--count", expected="at least 1")
    judged = drawing.read_judged(arguments.report)
    briefs = drawing.briefs(judged, _benchmark(arguments, judged))
    ids = drawing.draw(judged, arguments.count, arguments.seed)
    anchors.write_anchors(arguments.out, (anchors.row(own, briefs[own]) for own in ids))
    print(f"{len(ids)} of {len(briefs)} answers -> {arguments.out}")
    if arguments.page:
        anchors_page.write_page(arguments.page, briefs, ids)
        print(f"to score them: open {arguments.page} in a browser, and save the CSV file from there")


def _check(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from personamem_pipeline.evaluation.judging import anchors, drawing
    from personamem_pipeline.evaluation.judging.reliability import against_people

    judged = drawing.read_judged(arguments.report)
    briefs = drawing.briefs(judged, _benchmark(arguments, judged))
    read = anchors.read_anchors(*arguments.files, known=briefs)
    ids = read.labelled
    found = against_people(judged.scores(ids), read.columns(ids), judged.threshold)
    _show(Console(highlight=False), read, found, judged.threshold)
    if arguments.merge:
        rows = [anchors.row(own, read.briefs[own], who, score) for (own, who), score in sorted(read.scores.items())]
        anchors.write_anchors(arguments.merge, rows)
        print(f"{len(rows)} scores -> {arguments.merge}")


def _benchmark(arguments: argparse.Namespace, judged: Judged) -> Path:
    from personamem_pipeline.evaluation.judging.drawing import find_benchmark
    from personamem_pipeline.settings import load_settings
    from personamem_pipeline.store import Store

    if arguments.benchmark:
        if not (arguments.benchmark / "questions.parquet").is_file():
            raise UserError(
                "no benchmark is there",
                where=arguments.benchmark,
                expected="a directory with questions.parquet and histories.parquet",
            )
        return Path(arguments.benchmark)
    return find_benchmark(arguments.report, judged.benchmark, Store(load_settings().store))


def _show(console: Any, read: Anchors, found: Mapping[str, Any], threshold: float) -> None:
    from rich.table import Table
    from rich.text import Text

    people = ", ".join(read.annotators)
    console.print(Text(f"{found['n']} answers scored by {people}; right from {threshold:g}"))
    table = Table("judge", "agreement", "kappa", "alpha")
    for judge in found["agreement"]:
        figures = (found[name][judge] for name in ("agreement", "kappa", "alpha_judges"))
        table.add_row(Text(judge), *map(_figure, figures))
    table.add_row("the panel's mean", "", "", _figure(found["alpha"]))
    if found["annotators"] > 1:
        table.add_row("people among themselves", "", "", _figure(found["alpha_people"]))
    console.print(table)
    if found["alpha"] is None:
        console.print("a dash: not known, there are too few scores or all are the same")


def _figure(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{value:.2f}"
