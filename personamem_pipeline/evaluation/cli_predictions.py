"""`personamem predictions`: hand out a benchmark's questions, and score what another system said to them.

personamem predictions questions --out DIRECTORY
personamem predictions score FILE.jsonl

Only arguments; the work is done beside this file, and slow libraries are imported when a command is run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from personamem_pipeline.errors import UserError

if TYPE_CHECKING:
    from personamem_pipeline.evaluation.source import Source
    from personamem_pipeline.presets import EvaluationConfig
    from personamem_pipeline.records import Rejection

MOST_ORDERS = 24
"""Different orders of four options."""
REASONS = 3


def add_prediction_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `predictions` to the commands of `personamem`."""
    predictions = commands.add_parser("predictions", help="score any other system from a file of its answers")
    actions = predictions.add_subparsers(required=True, metavar="COMMAND")

    questions = actions.add_parser("questions", help="write what a benchmark asks, and the chats, without the answers")
    questions.set_defaults(run=_questions)
    questions.add_argument("--out", type=Path, required=True, metavar="DIRECTORY")
    questions.add_argument("--orders", type=option_orders, metavar="N", help="option orders; default: the preset's")
    add_benchmark(questions)

    score = actions.add_parser("score", help="score a JSONL file of {question_id, hypothesis}")
    score.set_defaults(run=_score)
    score.add_argument("file", type=Path, metavar="FILE.jsonl")
    score.add_argument("--orders", type=option_orders, metavar="N", help="must be answered; default: those in the file")
    score.add_argument("--partial", action="store_true", help="score what is there, marked as a part")
    score.add_argument("--json", action="store_true", help="the figures as JSON")
    add_benchmark(score)


def add_benchmark(parser: argparse.ArgumentParser) -> None:
    """The arguments that name a benchmark, ours or a released table."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--benchmark", metavar="VERSION", help="a version or how it begins, or a directory; default: the only one"
    )
    which.add_argument("--released", type=Path, metavar="TABLE.csv", help="a released table instead; needs --root")
    parser.add_argument("--root", type=Path, help="what the paths in the table are relative to")
    parser.add_argument("--size", choices=("32k", "128k"), default="32k", help="which histories of the table")


def option_orders(text: str) -> int:
    """An argument that is a number of option orders."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_ORDERS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MOST_ORDERS}")
    return int(text)


def configured() -> EvaluationConfig:
    """The evaluation section of the preset that the settings name."""
    from personamem_pipeline.presets import load_preset
    from personamem_pipeline.settings import load_settings

    return load_preset(load_settings().preset).evaluation


def chosen_source(arguments: argparse.Namespace, config: EvaluationConfig) -> tuple[Source, tuple[Rejection, ...]]:
    """The benchmark that is meant, and what of a released table cannot be asked."""
    if (arguments.released is None) != (arguments.root is None):
        raise UserError(
            "--released and --root belong together",
            expected="--released benchmark/text/benchmark.csv --root .",
            remedy="give both, or neither",
        )
    asked = {"orders": arguments.orders or config.option_orders, "seed": config.seed}
    if arguments.released is not None:
        from personamem_pipeline.evaluation.released_source import released_source

        found = released_source(
            arguments.released,
            arguments.root,
            size=arguments.size,
            people_per_batch=config.people_per_batch,
            **asked,
        )
        return found.source, found.rejected
    from personamem_pipeline.evaluation.find_source import find_source
    from personamem_pipeline.settings import load_settings
    from personamem_pipeline.store import Store

    store = Store(load_settings().store)
    return find_source(store, arguments.benchmark, people_per_batch=config.people_per_batch, **asked), ()


def _questions(arguments: argparse.Namespace) -> None:
    from personamem_pipeline.evaluation.handout import hand_out

    source, rejected = chosen_source(arguments, configured())
    questions, people = hand_out(source, arguments.out)
    print(f"{questions:,} questions of {people:,} people in {source.orders} option orders -> {arguments.out}")
    for row in rejected[:REASONS]:
        print(f"  not asked: {row.row_id}: {row.reason}")
    if len(rejected) > REASONS:
        print(f"  not asked: {len(rejected) - REASONS:,} more; `personamem released check` tells of all")


def _score(arguments: argparse.Namespace) -> None:
    from personamem_pipeline.evaluation.predictions_score import print_score, score_predictions

    config = configured()
    source, rejected = chosen_source(arguments, config)
    score = score_predictions(
        arguments.file, source, orders=arguments.orders, partial=arguments.partial, resamples=config.bootstrap
    )
    if arguments.json:
        print(json.dumps({**score, "not_asked": len(rejected)}, indent=1))
    else:
        print_score(score, len(rejected))
