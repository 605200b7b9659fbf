"""Memory GRPO measured against what one would do without it: time, tokens and memory, as ratios within one run.

    OMP_NUM_THREADS=2 python -m benchmarks.grpo            # all parts, about eight minutes on two cores
    python -m benchmarks.grpo --parts stock batches        # some of them; the others' figures stay in the JSON file
    python -m benchmarks.grpo --parts prefix --vllm        # (d) timed on vLLM too, where it is installed

- (a) `stock`: this trainer against stock TRL `GRPOTrainer` on single-turn rows of the same tokens.
- (b) `batches`: micro-batches sorted by length and trimmed, against padding to the longest row of the step.
- (c) `questions`: four questions per memory against four memories, for the same number of answers.
- (d) `prefix`: prompts with the chunk first against the memory first, under a prefix cache.
- (e) `generation`: the transformers generator against a loop of `model.generate`.
- (f) `growth`: seconds and peak memory of a step as histories grow from 4k to 32k tokens.

The models are tiny (models/tiny-base, or its shape with random weights), so ratios count and seconds do not. Sides take
turns and the median of the rounds is shown. Where results should be equal they are compared, and a difference ends the run.
All figures, and the machine's load, go into benchmarks/results/grpo.json.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.authoring import markdown, shown

PARTS = ("stock", "batches", "questions", "prefix", "generation", "growth")
OUT = Path(__file__).resolve().parent / "results" / "grpo.json"


def main() -> None:
    """Measure the parts asked for, print their tables, and put all figures into one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--quick", action="store_true", help="the smallest sizes: shows that it runs, measures nothing")
    parser.add_argument("--processor-time", action="store_true", help="seconds of the processor, for a busy machine")
    parser.add_argument("--vllm", nargs="?", const="random", metavar="DIRECTORY", help="also time (d) on vLLM")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()

    quiet()
    load, started = os.getloadavg(), time.monotonic()
    kept = json.loads(options.out.read_text()) if options.out.exists() else {}
    parts: dict[str, Any] = dict(kept.get("parts", {}))
    for name in options.parts:
        with tempfile.TemporaryDirectory(prefix="grpo-") as scratch:
            begun = time.monotonic()
            part = measuring(name, options)(options.quick, Path(scratch))
        Console(width=140).print(shown(part.title, part.lines))
        print(f"\n{markdown(part.lines)}\n", *part.notes, sep="\n")
        print(f"({time.monotonic() - begun:.0f} s)\n", flush=True)
        parts[name] = {
            "title": part.title,
            "notes": part.notes,
            "figures": part.figures,
            "quick": options.quick,
            "processor_time": options.processor_time,
            "load_average": {"before": load, "after": os.getloadavg()},
            "cpus": os.cpu_count(),
            "threads": os.environ.get("OMP_NUM_THREADS", ""),
            "versions": {package: version(package) for package in ("torch", "transformers", "trl")},
        }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(
        json.dumps({"parts": {name: parts[name] for name in PARTS if name in parts}}, indent=1) + "\n"
    )
    spent = time.monotonic() - started
    print(
        f"all figures: {options.out}; {spent:.0f} s; load average before {load[0]:.1f}, after {os.getloadavg()[0]:.1f}"
    )


def measuring(name: str, options: argparse.Namespace) -> Callable[[bool, Path], Any]:
    """A part's function of (quick, scratch directory). Parts are imported one by one: they are heavy."""
    from benchmarks import grpo_setup

    if options.processor_time:
        grpo_setup.Clock.now = staticmethod(time.process_time)
    measure = import_module(f"benchmarks.grpo_{name}").measure
    if name == "prefix":
        return lambda quick, scratch: measure(quick, scratch, options.vllm)
    return lambda quick, scratch: measure(quick, scratch)


def quiet() -> None:
    """No progress bars between the tables, and no warning at each of a hundred trainers."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"


if __name__ == "__main__":
    main()
