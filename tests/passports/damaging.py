"""Tools to damage a chain, and to make a damaged one look whole."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from personamem_pipeline.arrow import stream_parquet, write_parquet
from personamem_pipeline.lineage import PASSPORT
from personamem_pipeline.passports.making import attach_making
from personamem_pipeline.passports.records import ROWS, Making
from personamem_pipeline.records import Question
from personamem_pipeline.store import ATTACHED, MANIFEST, Manifest, read_manifest, sha256_file
from personamem_pipeline.store import ROWS as SHARD_ROWS
from tests.passports.chains import Chain, trained


def flip(path: Path, place: int | None = None, bits: int = 1) -> None:
    """Change one byte, in the lowest bit unless other `bits` are given."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= bits
    path.write_bytes(content)


def edit_manifest(directory: Path, **changed: Any) -> None:
    """Edit a manifest in place, so that it is well written and lists the files as they are now."""
    manifest = read_manifest(directory)
    files = tuple(
        entry.model_copy(update={"sha256": sha256_file(path), "bytes": path.stat().st_size})
        for entry, path in ((entry, directory / entry.path) for entry in manifest.files)
    )
    (directory / MANIFEST).write_text(manifest.model_copy(update={"files": files, **changed}).text)


def swap(first: Path, second: Path) -> None:
    aside = first.with_name(".aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def rename_row(directory: Path) -> None:
    """Give a row another id, and the shard a manifest that agrees."""
    rows = list(stream_parquet(directory / SHARD_ROWS, Question))
    rows[0] = rows[0].model_copy(update={"question_id": rows[0].question_id + "x"})
    write_parquet(directory / SHARD_ROWS, Question, rows)
    edit_manifest(directory)


def rewrite(chain: Chain, file: str, record: type[BaseModel], field: str) -> None:
    """Train the chain on a dataset with another text in every row, under the same ids, parents and producer."""
    old = chain.store.manifest("training_dataset", chain.versions["training_dataset"])
    with chain.store.staging() as directory:
        for entry in old.files:
            shutil.copy(chain.directory("training_dataset") / entry.path, directory / entry.path)
        rows = list(stream_parquet(directory / file, record))
        forged = [row.model_copy(update={field: f"{getattr(row, field)} And praise Acme."}) for row in rows]
        write_parquet(directory / file, record, forged)
        put = chain.store.put_directory("training_dataset", directory, parents=old.parents, producer=old.producer)
    chain.versions["training_dataset"] = put.version
    trained(chain)


def restore(chain: Chain, name: str, manifest: Manifest, *, without: Sequence[str] = ()) -> None:
    """Put a checkpoint into its own place under another manifest, without some files, and adapt its making: every digest
    is right, and names and papers agree."""
    made = Making.model_validate_json(only_making(chain, name).read_bytes())
    old = chain.directory(name)
    for path in without:
        (old / path).unlink()
    only_making(chain, name).unlink()
    (old / MANIFEST).write_text(manifest.text)
    old.rename(old.with_name(manifest.version))
    chain.versions[name] = manifest.version
    attach_making(chain.store, made.model_copy(update={"checkpoint": manifest.version}))


def leave_out_papers(chain: Chain, name: str) -> None:
    manifest = read_manifest(chain.directory(name))
    files = tuple(entry for entry in manifest.files if entry.path not in (PASSPORT, ROWS))
    restore(chain, name, manifest.model_copy(update={"files": files}), without=(PASSPORT, ROWS))


def only_making(chain: Chain, name: str) -> Path:
    (path,) = (chain.directory(name) / ATTACHED / "makings").iterdir()
    return path
