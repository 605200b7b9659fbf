"""`personamem released check` and `personamem export`: what the command line calls; cli.py only reads the arguments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from personamem_pipeline.questions.export import Size, export_released
from personamem_pipeline.questions.find import find_dataset
from personamem_pipeline.questions.gather import read_histories, read_questions
from personamem_pipeline.questions.released_csv import ReleasedCsv
from personamem_pipeline.questions.released_inspect import inspect_files
from personamem_pipeline.questions.released_people import Files
from personamem_pipeline.questions.released_report import ReleasedReport
from personamem_pipeline.records import History, Persona, Question, Split
from personamem_pipeline.store import Store

LONG = 64_000
"""Tokens from which on a history is exported as one of 128k rather than of 32k, unless the size is given."""


def check_command(
    tables: Sequence[Path],
    root: Path,
    *,
    size: Size = "32k",
    strict: bool = False,
    as_json: bool = False,
) -> int:
    """Inspect released tables and the histories under `root`, and print the report.

    A table whose name has `benchmark` in it is the benchmark, any other one trains. 0: read, whatever was found; with
    `strict`, `UserError` (exit code 2) when there is anything worse than a note, after the report was printed.
    """
    opened: list[tuple[Split, ReleasedCsv]] = [
        ("benchmark" if "benchmark" in path.name else "training", ReleasedCsv(path)) for path in tables
    ]
    opened.sort(key=lambda item: item[0])  # the benchmark first: its persons are nobody's to train on
    report = inspect_files(Files(root, tuple(opened), size))
    if as_json:
        print(report.model_dump_json(indent=1))
    else:
        _show(report)
    if strict:
        report.refuse()
    return 0


def export_command(datasets: Sequence[str], target: Path, store: Store, *, size: Size | None = None) -> int:
    """Write gathered datasets to `target` in the released layout: `KIND` for the newest one in the store, or `KIND/` and
    how its version begins. Exported together they share the numbering of persons, as the released splits do."""
    histories: list[History] = []
    questions: list[Question] = []
    personas: dict[str, Persona] = {}
    for dataset in datasets:
        kind, version = find_dataset(store, dataset)
        histories += read_histories(store, kind, version)
        questions += read_questions(store, kind, version)
        for name, parent in store.manifest(kind, version).parents.items():
            if name.startswith("personas/"):
                personas |= {row.person_id: row for row in store.stream_rows("personas", parent, Persona)}
        print(f"{kind} {version[:12]}")
    longest = max((history.gpt4o_tokens for history in histories), default=0)
    size = size or ("128k" if longest > LONG else "32k")
    report = export_released(histories, questions, list(personas.values()), target, size=size)
    print(f"{report.persons} persons, {report.tokens} gpt-4o tokens -> {report.target}")
    for table, rows in report.rows.items():
        print(f"  {table}: {rows} rows")
    for rejection in report.rejections:
        print(f"  left out: {rejection.row_id}: {rejection.reason}")
    return 0


def _show(report: ReleasedReport) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for title, head, rows in report.sheets():
        table = Table(title=title, title_justify="left")
        for name in head:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))  # texts from the files are no markup
        console.print(table)
