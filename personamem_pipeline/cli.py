"""What people do outside Dagster.

    personamem read HISTORY.json --model demo --query "What could I drink?"
    personamem view benchmark --out benchmark.html
    personamem export benchmark --to DIRECTORY
    personamem released check TABLE.csv --root DIRECTORY
    personamem presets [NAME or FILE.yaml]
    personamem cost --preset published --gpus 8
    personamem verify grpo_checkpoint
    personamem lineage grpo_checkpoint
    personamem store gc
    personamem evaluate --model demo --people 20
    personamem predictions score ANSWERS.jsonl
    personamem anchors make --report DIRECTORY --out anchors.csv

Bad input is one message on stderr and exit code 2, a store that does not answer one and 4. Slow libraries are imported only
after everything that a person may have mistyped was checked.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from personamem_pipeline.arguments import positive
from personamem_pipeline.cli_data import add_commands
from personamem_pipeline.cli_lineage import add_lineage_commands
from personamem_pipeline.cli_sign import add_sign_command
from personamem_pipeline.cli_store import add_store_commands
from personamem_pipeline.cli_training import add_training_commands
from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.cli_anchors import add_anchor_commands
from personamem_pipeline.evaluation.cli_evaluation import add_evaluation_commands
from personamem_pipeline.evaluation.cli_predictions import add_prediction_commands

if TYPE_CHECKING:
    from personamem_pipeline.memory.generators.base import Generator
    from personamem_pipeline.memory.generators.find import FoundModel
    from personamem_pipeline.presets import MemoryConfig
    from personamem_pipeline.questions.released import ReleasedHistory
    from personamem_pipeline.views import View

LETTERS = "abcd"
AWAY = 4
"""Exit code where a store does not answer; 1 is an outcome of commands that look into it, as of `verify`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 2 bad input, 4 no connection, 130 interrupted, and what else it says of its outcome."""
    arguments = _parser().parse_args(argv)
    try:
        code = arguments.run(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ConnectionError as error:  # of a store in a bucket, after its retries
        print(f"error: {error}", file=sys.stderr)
        return AWAY
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return code or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="personamem", description="Short, readable memories of a person.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    read = commands.add_parser("read", help="read a chat history and show the memory after every chunk")
    read.set_defaults(run=_read)
    read.add_argument("history", type=Path, metavar="HISTORY.json", help="a chat history in PersonaMem-v2's format")
    read.add_argument(
        "--model", required=True, help="demo or latest: the newest grpo_checkpoint; smollm2; or a model directory"
    )
    read.add_argument(
        "--engine", choices=("transformers", "vllm"), default="transformers", help="what runs it; vllm: large models"
    )
    read.add_argument("--query", metavar="TEXT", help="a question to answer from the memory alone")
    read.add_argument("--option", action="append", default=[], metavar="TEXT", help="one of two to four choices")
    read.add_argument("--style", choices=("compact", "full"), help="prompts; default: as the model was trained")
    for name, text in {
        "chunk-tokens": "a chunk is whole messages up to this many tokens",
        "memory-tokens": "cap of one memory",
        "answer-tokens": "cap of the answer",
        "max-chunks": "read only so many chunks; default: all",
    }.items():
        read.add_argument(f"--{name}", type=positive, metavar="N", help=text)
    read.add_argument("--keep-profile", action="store_true", help="also read the system message with the profile")
    read.add_argument("--json", action="store_true", help="one JSON object a line instead of text")

    add_commands(commands)
    add_training_commands(commands)
    add_lineage_commands(commands)
    add_sign_command(commands)
    add_store_commands(commands)
    add_evaluation_commands(commands)
    add_prediction_commands(commands)
    add_anchor_commands(commands)
    return parser


def _read(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from personamem_pipeline.questions.released import read_history
    from personamem_pipeline.settings import load_settings
    from personamem_pipeline.views import JsonLines, Page

    _check_options(arguments)
    history = read_history(arguments.history, keep_profile=arguments.keep_profile)
    # No progress bars and log lines of other libraries between our lines.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    with _status("finding the model"):
        from personamem_pipeline.memory.generators.find import find_model

        found = find_model(arguments.model, load_settings())
    with _status("loading the model"):
        from personamem_pipeline.memory.generators.load import load_generator

        generator = load_generator(found.directory, arguments.engine)
    console = Console(highlight=False)
    view = JsonLines(console) if arguments.json else Page(console)
    _show(arguments, history, found, generator, view)


def _check_options(arguments: argparse.Namespace) -> None:
    count = len(arguments.option)
    if count and not arguments.query:
        raise UserError("--option without --query", remedy='add --query "..."')
    if count == 1 or count > len(LETTERS):
        raise UserError(f"{count} options", where="--option", remedy=f"give none, or 2 to {len(LETTERS)}")


def _config(arguments: argparse.Namespace, found: FoundModel) -> MemoryConfig:
    changed = {
        "prompts": arguments.style,
        "chunk_tokens": arguments.chunk_tokens,
        "memory_tokens": arguments.memory_tokens,
        "answer_tokens": arguments.answer_tokens,
    }
    return found.memory.model_copy(update={name: value for name, value in changed.items() if value is not None})


def _show(
    arguments: argparse.Namespace, history: ReleasedHistory, found: FoundModel, generator: Generator, view: View
) -> None:
    from personamem_pipeline.memory.episode import answer, plan_chunks
    from personamem_pipeline.memory.reading import read_chat
    from personamem_pipeline.views import Answered, Totals

    config = _config(arguments, found)
    planned = len(plan_chunks(history.messages, generator, config))
    reading = min(planned, arguments.max_chunks or planned)
    origin = "as set" if config != found.memory else "as trained" if found.trained else "the default"
    view.start(
        {
            "history": f"{arguments.history}, {len(history.messages)} messages",
            "model": str(found.directory),
            "protocol": f"{config.prompts} prompts, chunks of {config.chunk_tokens} tokens, "
            f"memory of {config.memory_tokens} ({origin})",
        }
    )
    if history.profile and not arguments.keep_profile:
        view.note("the system message with the person's profile is not read (--keep-profile reads it)")
    if found.trained and planned > config.max_chunks:
        view.note(f"{planned} chunks; the model was trained on at most {config.max_chunks}")
    totals = Totals(unread_chunks=planned - reading)
    memory, turns = "", read_chat(history.messages, generator, config, max_chunks=reading)
    for number in range(1, reading + 1):
        started = time.monotonic()
        with _status(f"chunk {number} of {reading}"):
            turn = next(turns)
        seconds = time.monotonic() - started
        view.turn(turn, reading, seconds)
        if found.context and turn.read_tokens + turn.written_tokens > found.context:
            view.note(f"the prompt has {turn.read_tokens} tokens; the model was made for {found.context} in all")
        memory = turn.turn.memory
        totals.chunks += 1
        totals.chat_tokens += turn.chat_tokens
        totals.read_tokens += turn.read_tokens
        totals.written_tokens += turn.written_tokens
        totals.seconds += seconds
    totals.memory_tokens = generator.count(memory)
    view.totals(totals)
    if arguments.query:
        options = dict(zip(LETTERS, arguments.option, strict=False))
        with _status("answering"):
            known = memory if config.protocol == "memory" else history.messages
            generation = answer([known], [arguments.query], [options or None], generator, config)[0]
        view.answer(Answered(arguments.query, options, generation))


def _status(text: str) -> AbstractContextManager[object]:
    """A spinner on stderr while something takes time; nothing at all when nobody watches."""
    from rich.console import Console

    return Console(stderr=True).status(text)


if __name__ == "__main__":
    sys.exit(main())
