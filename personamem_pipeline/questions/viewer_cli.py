"""`personamem view`: what the command line calls; cli.py only reads the arguments.

view_command("benchmark", Path("viewer.html"), store)                      the newest one in the store
view_command("benchmark/3f2a", Path("viewer.html"), store, people=["p7"])  a version, or how it begins
view_command("downloads/benchmark", Path("viewer.html"), store)            a directory with the Parquet files
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from personamem_pipeline.arrow import stream_parquet
from personamem_pipeline.errors import UserError
from personamem_pipeline.questions.copying import HISTORIES, QUESTIONS
from personamem_pipeline.questions.find import find_dataset
from personamem_pipeline.questions.viewer import write_viewer
from personamem_pipeline.records import History, Persona, Question, Rejection
from personamem_pipeline.store import MANIFEST, REJECTED, Manifest, Store, read_manifest, verify_files

PERSONS = 20
"""Shown unless said otherwise: at 32k tokens each the page stays under 6 MB."""


def view_command(
    dataset: str, target: Path, store: Store, *, persons: int | None = PERSONS, people: Sequence[str] = ()
) -> int:
    """Write the viewer of a gathered dataset: its first `persons` (None: all) by id, or those that `people` names.

    Profiles come from the persons that the dataset was made from, where the store still has them. Raises `UserError`
    for a dataset that is not there, whose files changed, or that lacks somebody of `people`.
    """
    directory, manifest = locate(dataset, store)
    everybody = pq.read_table(directory / HISTORIES, columns=["person_id"])["person_id"].to_pylist()
    if missing := sorted(set(people) - set(everybody)):
        known = min(everybody, default="none: it is empty")
        raise UserError(f"no such person: {', '.join(missing)}", where=directory, expected=f"ids like {known}")
    shown = set(people or sorted(everybody)[:persons])
    questions = list(stream_parquet(directory / QUESTIONS, Question))
    rejected = list(stream_parquet(directory / REJECTED, Rejection)) if (directory / REJECTED).is_file() else []
    facts = {
        "persons": f"{len(everybody):,}",
        "questions": f"{len(questions):,}",
        "rejected rows": f"{len(rejected):,}",
    }
    write_viewer(
        target,
        title=manifest.kind.replace("_", " ") if manifest else directory.name,
        histories=(row for row in stream_parquet(directory / HISTORIES, History) if row.person_id in shown),
        questions=questions,
        personas=_personas(store, manifest, shown),
        rejected=rejected,
        facts={**facts, **_origin(manifest)},
    )
    size = target.stat().st_size / 1e6
    print(f"{directory}: {len(shown)} of {len(everybody)} persons -> {target} ({size:.1f} MB; open it in a browser)")
    return 0


def locate(dataset: str, store: Store) -> tuple[Path, Manifest | None]:
    """The directory of a dataset, verified where it has a manifest: a path, `KIND` or `KIND/` and how a version begins."""
    directory = Path(dataset)
    if (directory / QUESTIONS).is_file() and (directory / HISTORIES).is_file():
        if not (directory / MANIFEST).is_file():
            return directory, None  # somebody else's copy: nothing says what its bytes should be
        manifest = read_manifest(directory)
        verify_files(directory, manifest)
        return directory, manifest
    kind, version = find_dataset(store, dataset)
    return store.verified(kind, version), store.manifest(kind, version)


def _personas(store: Store, manifest: Manifest | None, shown: set[str]) -> dict[str, Persona] | None:
    parents = {} if manifest is None else manifest.parents
    found = {
        persona.person_id: persona
        for name, version in sorted(parents.items())
        if name.startswith("personas/") and store.has("personas", version)
        for persona in store.stream_rows("personas", version, Persona)
        if persona.person_id in shown
    }
    return found or None


def _origin(manifest: Manifest | None) -> Mapping[str, str]:
    if manifest is None:
        return {"version": "unknown: the directory has no manifest"}
    return {"version": manifest.version, **dict(sorted(manifest.producer.items()))}
