"""Pool several training seeds: is GRPO above SFT, over trainings and not only over people?

    python -m personamem_pipeline.evaluation.pool results1.json results2.json results3.json --out DIR

Reads the `results.json` of reports on the same benchmark, prints a table, and writes `pool.html` and `pool.json`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation import report
from personamem_pipeline.evaluation.report import plots
from personamem_pipeline.evaluation.report.plots import training
from personamem_pipeline.evaluation.results import Results, load, totals_of
from personamem_pipeline.evaluation.statistics.clusters import pool
from personamem_pipeline.evaluation.statistics.paired import paired_cluster_permutation
from personamem_pipeline.store import write_json_atomically

A, B = "grpo", "sft"


def summarize(runs: Sequence[Results]) -> dict[str, Any]:
    """Per-seed rows and the pooled paired test; refuses runs that cannot be pooled."""
    _refuse_mixed(runs)
    runs = sorted(runs, key=_seed)
    bounds = {"resamples": runs[0]["benchmark"]["resamples"], "seed": runs[0]["benchmark"]["seed"]}
    first, second = [[totals_of(run, name) for run in runs] for name in (A, B)]
    rows = []
    for run, a, b in zip(runs, first, second, strict=True):
        test = paired_cluster_permutation(a, b, **bounds)
        rows.append(
            {"seed": _seed(run), A: a.mean, B: b.mean, "version": run["provenance"]["versions"]["grpo_checkpoint"]}
        )
        rows[-1] |= {key: value for key, value in asdict(test).items() if key in ("difference", "low", "high", "p")}
    pooled = [pool(first), pool(second)]
    return {
        "benchmark": runs[0]["provenance"]["versions"]["benchmark"],
        "runs": rows,
        "higher": sum(row["difference"] > 0 for row in rows),
        A: pooled[0].mean,
        B: pooled[1].mean,
        "test": asdict(paired_cluster_permutation(*pooled, **bounds)),
    }


def _seed(run: Results) -> int:
    return int(run["provenance"]["trainings"][A]["seed"])


def _without_seeds(run: Results) -> dict[str, Any]:
    trainings = run["provenance"]["trainings"]
    return {name: {**training, "seed": None} for name, training in trainings.items()}


def _refuse_mixed(runs: Sequence[Results]) -> None:
    for run in runs:
        if missing := {A, B} - set(run["persons"]):
            raise UserError(f"a report does not have the systems {sorted(missing)}", expected=f"both {A} and {B}")
    for what, values in {
        "benchmark": [run["provenance"]["versions"]["benchmark"] for run in runs],
        "option orders": [(run["benchmark"]["option_orders"], run["benchmark"]["seed"]) for run in runs],
        "training configuration": [_without_seeds(run) for run in runs],
        "base model": [run["provenance"]["versions"]["base_model"] for run in runs],
        "memory protocol": [(run["provenance"]["memory"], run["provenance"]["temperature"]) for run in runs],
    }.items():
        if any(value != values[0] for value in values):
            raise UserError(
                f"the reports do not have the same {what}",
                expected="reports that differ only in the training seed",
                remedy="materialize benchmark_report for each seed on the same benchmark",
            )
    seeds = [_seed(run) for run in runs]
    versions = [run["provenance"]["versions"]["grpo_checkpoint"] for run in runs]
    if len(set(versions)) != len(versions) or len(set(seeds)) != len(seeds):
        raise UserError(
            f"the same training is given twice (seeds {', '.join(map(str, seeds))})",
            expected="one report per training seed",
            remedy="a checkpoint counted twice would make the pooled test look surer than it is",
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="results.json of each seed's report")
    parser.add_argument("--out", type=Path, required=True, help="directory for pool.html and pool.json")
    options = parser.parse_args(arguments)
    try:
        runs = [load(path) for path in options.results]
        summary = summarize(runs)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    write_json_atomically(options.out / "pool.json", summary)
    figure = plots.publish(
        training.seeds(summary), options.out, "seeds", "Accuracy of SFT and GRPO of each training seed"
    )
    (options.out / "pool.html").write_text(report.render_pool(summary, figure), encoding="utf-8", newline="\n")
    Console().print(_table(summary))
    print(f"report: {options.out / 'pool.html'}")
    return 0


def _table(summary: dict[str, Any]) -> Table:
    table = Table("seed", "SFT", "GRPO", "difference (points)", "95 % interval", "p", title="GRPO against SFT")
    for row in [*summary["runs"], {"seed": "pooled", A: summary[A], B: summary[B], **summary["test"]}]:
        interval = report.NOTHING if row["low"] is None else f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}"
        shares = (report.percent(row[B]), report.percent(row[A]))
        table.add_row(str(row["seed"]), *shares, f"{100 * row['difference']:+.1f}", interval, report.p_value(row["p"]))
    return table


if __name__ == "__main__":
    sys.exit(main())
