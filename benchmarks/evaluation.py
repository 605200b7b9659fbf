"""The evaluation measured: what sharing and batching save, what the harness costs, and how long a report takes.

    OMP_NUM_THREADS=2 python -m benchmarks.evaluation                  # all parts, a few minutes on two cores
    python -m benchmarks.evaluation --parts report                     # some of them; the others' figures stay in the file
    python -m benchmarks.evaluation --home DIRECTORY --model DIRECTORY # another store, another checkpoint

- (a) `sharing`: memories shared per person and turns batched, against every question for itself.
- (b) `overhead`: runner, journal and scoring over the same generation calls alone; the goal is under 10 %.
- (c) `warm`: the same evaluation again, from its journal.
- (d) `report`: 5,000 questions, 4 option orders, 12 systems, from stored outputs to the finished page.

(a) to (c) ask the first people of the demo's benchmark (`make demo` makes it) with a tiny model, greedily, so ratios count
and seconds do not. Sides take turns, and the median of the rounds is shown. Replies that should be equal are compared, and a
difference ends the run. All figures, and the machine's load, go into benchmarks/results/evaluation.json.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import evaluation_overhead, evaluation_report, evaluation_sharing
from benchmarks.authoring import markdown, shown
from benchmarks.evaluation_setup import Bench, Clock, Part
from personamem_pipeline.errors import UserError
from personamem_pipeline.settings import PROJECT, load_settings

PARTS: dict[str, Callable[[Bench], Part]] = {
    "sharing": evaluation_sharing.measure,
    "overhead": evaluation_overhead.measure,
    "warm": evaluation_overhead.measure_warm,
    "report": evaluation_report.measure,
}
OUT = Path(__file__).resolve().parent / "results" / "evaluation.json"


def main() -> None:
    """Measure the parts asked for, print their tables, and put all figures into one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--home", type=Path, help="whose store has the benchmark; default: PERSONAMEM_HOME")
    parser.add_argument("--model", type=Path, default=PROJECT / "models" / "tiny-base", help="a model directory")
    parser.add_argument("--preset", default="demo", help="whose prompts and sizes; default: demo")
    parser.add_argument("--people", type=int, default=200, help="first ones of the benchmark, for (a) to (c)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processor-time", action="store_true", help="seconds of the processor, for a busy machine")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()

    if options.processor_time:
        Clock.now = staticmethod(time.process_time)
    bench = Bench(options.home or load_settings().home, options.model, options.preset, options.people, options.rounds)
    load = os.getloadavg()
    kept = json.loads(options.out.read_text()) if options.out.exists() else {}
    parts: dict[str, Any] = dict(kept.get("parts", {}))
    quiet()
    for name in options.parts:
        begun = time.monotonic()
        try:
            part = PARTS[name](bench)
        except UserError as error:
            raise SystemExit(f"error: {error}") from error
        Console(width=140).print(shown(part.title, part.lines))
        print(f"\n{markdown(part.lines)}\n", *part.notes, sep="\n")
        print(f"({time.monotonic() - begun:.0f} s)\n", flush=True)
        parts[name] = {
            "title": part.title,
            "notes": part.notes,
            "figures": part.figures,
            "model": options.model.name,
            "people": options.people,
            "processor_time": options.processor_time,
            "load_average": {"before": load, "after": os.getloadavg()},
            "cpus": os.cpu_count(),
            "threads": os.environ.get("OMP_NUM_THREADS", ""),
            "versions": {package: version(package) for package in ("torch", "transformers", "numpy")},
        }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(
        json.dumps({"parts": {name: parts[name] for name in PARTS if name in parts}}, indent=1) + "\n"
    )
    print(f"all figures: {options.out}; load average before {load[0]:.1f}, after {os.getloadavg()[0]:.1f}")


def quiet() -> None:
    """No progress bars between the tables."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


if __name__ == "__main__":
    main()
