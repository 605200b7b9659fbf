"""The commands about data: browse a dataset, export it, check released files. Only arguments; the work is the rooms'."""

from __future__ import annotations

import argparse
from pathlib import Path

DATASET_HELP = "training_dataset, benchmark, either with / and how a version begins, or a dataset's directory"


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `view`, `export` and `released` to the commands of `personamem`."""
    view = commands.add_parser("view", help="write an HTML page to browse persons, sessions, evidence and questions")
    view.set_defaults(run=_view)
    view.add_argument("dataset", help=DATASET_HELP)
    view.add_argument("--out", type=Path, required=True, metavar="FILE.html")
    view.add_argument("--persons", metavar="N", help="the first N persons by id, or `all`; default 20")
    view.add_argument("--person", action="append", default=[], metavar="ID", help="just this person; may be repeated")

    export = commands.add_parser("export", help="write a dataset in the layout in which PersonaMem-v2 was released")
    export.set_defaults(run=_export)
    export.add_argument("datasets", nargs="*", default=["training_dataset", "benchmark"], metavar="DATASET",
                        help="training_dataset, benchmark, or either with / and its version; default: both, numbered "
                        "together")  # fmt: skip
    export.add_argument("--to", type=Path, required=True, metavar="DIRECTORY")
    export.add_argument("--size", choices=("32k", "128k"), help="name the histories so; default: by their length")

    released = commands.add_parser("released", help="files of the released PersonaMem-v2 dataset")
    check = released.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "check", help="say what is wrong with them"
    )
    check.set_defaults(run=_check)
    check.add_argument("tables", type=Path, nargs="+", metavar="TABLE.csv")
    check.add_argument("--root", type=Path, required=True, help="what the paths in the tables are relative to")
    check.add_argument("--size", choices=("32k", "128k"), default="32k", help="which histories to check")
    check.add_argument("--strict", action="store_true", help="exit with 2 when something is wrong")
    check.add_argument("--json", action="store_true", help="the report as JSON")


def _view(arguments: argparse.Namespace) -> None:
    from personamem_pipeline.errors import UserError
    from personamem_pipeline.questions.viewer_cli import PERSONS, view_command
    from personamem_pipeline.settings import load_settings
    from personamem_pipeline.store import Store

    asked = arguments.persons or str(PERSONS)
    if asked != "all" and not (asked.isascii() and asked.isdigit() and int(asked)):
        raise UserError(f"{asked!r} persons", where="--persons", expected="a whole number of at least 1, or `all`")
    count = None if asked == "all" else int(asked)
    store = Store(load_settings().store)
    view_command(arguments.dataset, arguments.out, store, persons=count, people=arguments.person)


def _export(arguments: argparse.Namespace) -> None:
    from personamem_pipeline.questions.released_cli import export_command
    from personamem_pipeline.settings import load_settings
    from personamem_pipeline.store import Store

    store = Store(load_settings().store)
    export_command(arguments.datasets, arguments.to, store, size=arguments.size)


def _check(arguments: argparse.Namespace) -> None:
    from personamem_pipeline.questions.released_cli import check_command

    check_command(
        arguments.tables, arguments.root, size=arguments.size, strict=arguments.strict, as_json=arguments.json
    )
