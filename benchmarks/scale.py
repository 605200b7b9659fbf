"""How the data stages grow with the number of persons: time should be linear, memory flat.

    python -m benchmarks.scale                        # 10, 100 and 1,000 persons of presets/published.yaml, one process each
    python -m benchmarks.scale --persons 1000 --processes 2     # its shards dealt to two processes, as pods would have them
    python -m benchmarks.scale --persons 100 --twice  # built twice in processes of their own: equal digests?

Every size is the whole Dagster graph up to `training_dataset` and `benchmark`, with the simulator, in a home of its own; a
shard always holds 20 persons, so that the number of shards grows and their size does not. Peak memory is the greatest
resident set of any one process (Linux counts kB).
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

SEEDS = ["persona_seeds"]
SHARDED = ["personas", "conversations", "histories", "questions"]
GATHERED = ["training_dataset", "benchmark"]
PERSONS_PER_SHARD = 20
BENCHMARK_SHARE = 0.2


def work(home: Path, persons: int, preset_name: str, names: Sequence[str], shards: Sequence[str], cache: bool) -> None:
    """What a worker process does: materialize `names` and print what it took as JSON."""
    import dagster as dg

    from personamem_pipeline.definitions import build_assets, default_resources
    from personamem_pipeline.demo import failures, materialize
    from personamem_pipeline.lineage import shard_names
    from personamem_pipeline.presets import load_preset
    from personamem_pipeline.settings import load_settings

    started = time.monotonic()
    preset = load_preset(preset_name)
    assert preset.data.seeds is not None
    benchmark = max(1, round(persons * BENCHMARK_SHARE))
    seeds = preset.data.seeds.model_copy(
        update={"training_persons": persons - benchmark, "benchmark_persons": benchmark}
    )
    count = max(1, persons // PERSONS_PER_SHARD)
    data = preset.data.model_copy(update={"seeds": seeds, "shards": count})
    preset = preset.model_copy(update={"data": data})
    settings = load_settings().model_copy(update={"home": home, "llm_cache": cache})
    (home / "dagster").mkdir(parents=True, exist_ok=True)
    definitions = dg.Definitions(
        assets=build_assets(preset, settings), resources=default_resources(settings), executor=dg.in_process_executor
    )
    every = shard_names(count)
    with dg.DagsterInstance.local_temp(str(home / "dagster")) as instance:
        chosen = [every[int(shard)] for shard in shards] or list(every)
        result = materialize(definitions, instance, list(names), chosen)
        facts = {
            event.asset_key.path[-1]: {key: value.value for key, value in event.materialization.metadata.items()}
            for event in result.get_asset_materialization_events()
            if event.asset_key
        }
        # A handful of persons cannot keep bounds over slices; what is measured here is the work, so checks may fail.
        if missing := sorted(set(names) - set(facts)):
            told = "\n".join(f"{name}: {message}" for name, message in failures(result))
            sys.exit(f"not built: {', '.join(missing)}\n{told}")
        facts = {name: _scalars(values) for name, values in facts.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.monotonic() - started, "peak_mb": peak, "assets": facts}))


def _scalars(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if isinstance(value, str | int | float)}


def build(persons: int, preset: str, processes: int, *, cache: bool) -> dict[str, Any]:
    """One dataset in worker processes: its shards, then the gathering of them."""
    home = Path(tempfile.mkdtemp(prefix="personamem-scale-"))
    shards = list(range(max(1, persons // PERSONS_PER_SHARD)))
    try:
        started = time.monotonic()
        cut = -(-len(shards) // processes)
        parts = [shards[start : start + cut] for start in range(0, len(shards), cut)]
        seeded = _workers(home, persons, preset, SEEDS, [[]], cache)  # alone: it makes the instance's database
        sharded = [*seeded, *_workers(home, persons, preset, SHARDED, parts, cache)]
        gathered = _workers(home, persons, preset, GATHERED, [[]], cache)
        seconds = time.monotonic() - started
    finally:
        shutil.rmtree(home)
    assets = {name: facts for worker in [*sharded, *gathered] for name, facts in worker["assets"].items()}
    return {
        "persons": persons,
        "processes": len(parts),
        "seconds": round(seconds, 1),
        "shards_peak_mb": round(max(worker["peak_mb"] for worker in sharded)),
        "gather_peak_mb": round(gathered[0]["peak_mb"]),
        "failed_checks": sorted({check for facts in assets.values() for check in _failed(facts)}),
        "questions": sum(assets[name]["questions"] for name in GATHERED),
        "digests": {name: assets[name]["version"] for name in GATHERED},
    }


def _failed(facts: dict[str, Any]) -> list[str]:
    return [name for name in str(facts["failed_checks"]).split(", ") if name]


def _workers(
    home: Path, persons: int, preset: str, names: Sequence[str], parts: Sequence[Sequence[int]], cache: bool
) -> list[dict[str, Any]]:
    running = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.scale", "--worker", str(home), "--persons", str(persons)),
                *("--preset", preset, *([] if cache else ["--no-cache"]), "--names", *names),
                *("--shards", *map(str, part)),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for part in parts
    ]
    outputs = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        sys.exit("a worker failed")
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def show(rows: Sequence[dict[str, Any]]) -> None:
    """The table; s per person and MB are what should not grow."""
    table = Table(
        "persons",
        "processes",
        "seconds",
        "s per person",
        "shards, peak MB",
        "gathering, peak MB",
        "questions",
        "failed checks",
    )
    for row in rows:
        table.add_row(
            *(str(row[key]) for key in ("persons", "processes", "seconds")),
            f"{row['seconds'] / row['persons']:.2f}",
            *(str(row[key]) for key in ("shards_peak_mb", "gather_peak_mb", "questions")),
            ", ".join(row["failed_checks"]) or "none",
        )
    Console(width=130).print(table)


def main() -> None:
    """Build every size asked for and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persons", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--preset", default="published")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--no-cache", action="store_true", help="ask the simulator without the response cache")
    parser.add_argument("--twice", action="store_true", help="build each size twice and compare the digests")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--names", nargs="*", default=[], help=argparse.SUPPRESS)
    parser.add_argument("--shards", nargs="*", default=[], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker, given.persons[0], given.preset, given.names, given.shards, not given.no_cache)
        return
    rows = []
    for persons in given.persons:
        for _ in range(2 if given.twice else 1):
            rows.append(build(persons, given.preset, given.processes, cache=not given.no_cache))
            show(rows)
        if given.twice:
            equal = rows[-1]["digests"] == rows[-2]["digests"]
            Console().print(
                f"{persons} persons, two builds: digests {'equal' if equal else 'DIFFER'} {rows[-1]['digests']}"
            )
            if not equal:
                sys.exit(1)
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
