"""`personamem evaluate`: one model on one benchmark, ours or the released one, without the asset graph.

personamem evaluate --model smollm2 --released benchmark.csv --root . --system memory --system full_context
personamem evaluate --model endpoint --benchmark 3f2a --people 20

Only arguments; the work is done beside this file, and slow libraries are imported when the command is run.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from personamem_pipeline.arguments import not_negative, positive
from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.cli_predictions import add_benchmark, chosen_source, configured, option_orders

if TYPE_CHECKING:
    from rich.table import Table

    from personamem_pipeline.evaluation.timings import Timing
    from personamem_pipeline.presets.evaluation import Reading

USUAL = ("memory", "oracle", "full_context", "bm25", "no_history")


def add_evaluation_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `evaluate` to the commands of `personamem`."""
    evaluate = commands.add_parser("evaluate", help="score a model on a benchmark, ours or the released one")
    evaluate.set_defaults(run=_evaluate)
    evaluate.add_argument(
        "--model", required=True, help="demo or latest: the newest grpo_checkpoint; smollm2; a directory; or endpoint"
    )
    evaluate.add_argument(
        "--system", action="append", metavar="NAME", help=f"what to measure, repeatable; default: {', '.join(USUAL)}"
    )
    evaluate.add_argument(
        "--open", action="store_true", help="also ask the first system without options, for the judges"
    )
    evaluate.add_argument("--people", type=positive, metavar="N", help="only the first N people")
    evaluate.add_argument(
        "--orders", type=option_orders, metavar="N", help="option orders per question; default: the preset's"
    )
    evaluate.add_argument("--engine", choices=("transformers", "vllm"), help="what runs a local model")
    evaluate.add_argument("--temperature", type=not_negative, metavar="T", help="default: the preset's")
    for name in ("chunk-tokens", "memory-tokens", "answer-tokens"):
        evaluate.add_argument(f"--{name}", type=positive, metavar="N", help="default: as the model was trained")
    evaluate.add_argument("--out", type=Path, default=Path("evaluation"), help="directory for the report")
    evaluate.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_benchmark(evaluate)


def _evaluate(arguments: argparse.Namespace) -> None:
    from personamem_pipeline.evaluation.direct import Direct, evaluate_directly, first_people
    from personamem_pipeline.progress import Progress
    from personamem_pipeline.settings import load_settings
    from personamem_pipeline.stage import quiet_libraries

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    quiet_libraries()
    readings = _readings(arguments.system or USUAL)
    config = configured()
    source, rejected = chosen_source(arguments, config)
    if arguments.people:
        source = first_people(source, arguments.people)
    own = {"engine": arguments.engine, "temperature": arguments.temperature, "option_orders": arguments.orders}
    memory = {name: getattr(arguments, name) for name in ("chunk_tokens", "memory_tokens", "answer_tokens")}
    direct = Direct(
        model=arguments.model,
        readings=readings,
        open=arguments.open,
        config=config.model_copy(update=_given(own)),
        memory=_given(memory),
    )
    progress = Progress()
    progress.listen()
    found, times = evaluate_directly(direct, source, rejected, load_settings(), progress, arguments.out)
    if arguments.json:
        print(
            json.dumps(
                {
                    name: found[name]
                    for name in ("benchmark", "systems", "tests", "open", "forget", "leak_probe", "ledger", "remarks")
                },
                indent=1,
            )
        )
    else:
        _show(found, times, arguments.out)


def _readings(names: Sequence[str]) -> list[Reading]:
    from personamem_pipeline.presets.evaluation import Reading

    known: dict[str, Reading] = {name: name for name in get_args(Reading) if name != "predictions"}
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"no system is called {unknown[0]!r}", where="--system", expected=" or ".join(known))
    return [known[name] for name in names]


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _show(found: dict[str, Any], times: Sequence[Timing], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from personamem_pipeline.evaluation.timings import cells_of

    tokens = {row["system"]: row["tokens_per_question"] for row in found["ledger"]}
    opened = {row["system"]: "none" if row["mean"] is None else f"{row['mean']:.3f}" for row in found["open"]}
    asked = found["benchmark"]
    title = f"{asked['questions']:,} questions, {asked['persons']:,} people, {asked['option_orders']} option orders"
    table = Table(
        "system",
        "accuracy",
        "95 % interval",
        "lenient",
        "unparseable",
        "not asked",
        "open",
        "tokens a question",
        title=title,
    )
    for row in found["systems"]:
        interval = "none" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
        cost = f"{tokens[row['name']]:,.0f}" if row["name"] in tokens else ""
        table.add_row(
            row["label"], f"{row['accuracy']:.3f}", interval, f"{row['accuracy_lenient']:.3f}",
            str(row["unparseable"]), str(row["over_long"] + row["refused"]), opened.get(row["name"], ""), cost,
        )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(_seconds(cells_of(times)))
    for remark in found["remarks"]:
        console.print(f"note: {remark}", markup=False, soft_wrap=True)
    console.print(f"report: {out / 'report.html'}", markup=False, soft_wrap=True)


def _seconds(lines: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table

    table = Table(
        "system", "kind", "calls", "s each", "median wait", "95th percentile", title="seconds, on this machine"
    )
    for cells in lines:
        table.add_row(*cells)
    return table
