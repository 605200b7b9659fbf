"""Which benchmark a person means on the command line, as a source of questions.

A version or how it begins, a directory, or nothing where the store has just one: scores of different benchmarks do not
compare, so between several nobody chooses but the person.
"""

from __future__ import annotations

from pathlib import Path

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.source import Source, benchmark_source, directory_source
from personamem_pipeline.lineage import materialize_command
from personamem_pipeline.questions.copying import HISTORIES, QUESTIONS
from personamem_pipeline.store import MANIFEST, Store, read_manifest, verify_files

KIND = "benchmark"


def find_source(store: Store, benchmark: str | None, *, orders: int, seed: int, people_per_batch: int) -> Source:
    """The benchmark, its digests recomputed.

    Raises:
        UserError: there is none, there are several and none was named, or the files are not what their manifest says.
    """
    directory = Path(benchmark or "")
    if benchmark and (directory / QUESTIONS).is_file() and (directory / HISTORIES).is_file():
        if (directory / MANIFEST).is_file():  # else nothing says what the bytes should be
            verify_files(directory, read_manifest(directory))
        place = directory.absolute()
        return directory_source(place, {}, orders=orders, seed=seed, people_per_batch=people_per_batch)
    version = _version(store, benchmark)
    return benchmark_source(store, version, orders=orders, seed=seed, people_per_batch=people_per_batch)


def _version(store: Store, benchmark: str | None) -> str:
    """The one version that is meant."""
    start = (benchmark or "").removeprefix(f"{KIND}/")
    here = sorted(store.versions(KIND))
    found = [version for version in here if version.startswith(start)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(version[:12] for version in here) or "none"
    if not here:
        problem, remedy = "there is no benchmark", f"run `{materialize_command(KIND)}`, or give a directory"
    elif not found:
        problem, remedy = f"no benchmark is called {benchmark!r}, nor is there such a directory", "correct --benchmark"
    else:
        problem = f"{len(found)} benchmarks" + (f" begin with {start}" if start else ", and none was named")
        remedy = "say which: --benchmark VERSION"
    raise UserError(problem, where=store.url, expected=f"one of: {known}" if here else "", remedy=remedy)
