"""What may happen to a chain, and what `verify` must say of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from personamem_pipeline.arrow import stream_parquet, write_parquet
from personamem_pipeline.lineage import PASSPORT
from personamem_pipeline.passports.records import ROWS
from personamem_pipeline.questions.copying import HISTORIES, QUESTIONS
from personamem_pipeline.records import History, Question
from personamem_pipeline.store import ATTACHED, MANIFEST, REJECTED, read_manifest, sha256_file
from personamem_pipeline.store import ROWS as SHARD_ROWS
from tests.passports.chains import SEEDS_FILE, Chain, trained

NAMED, FILES = "is the version that is named", "files are the manifest's"
WEIGHTS = "model.safetensors"


def flip(path: Path, place: int | None = None) -> None:
    """Change the lowest bit of one byte."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 1
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


def only_making(chain: Chain, name: str) -> Path:
    (path,) = (chain.directory(name) / ATTACHED / "makings").iterdir()
    return path


def in_shard(chain: Chain) -> tuple[str, str, str]:
    flip(chain.directory("questions", "01") / SHARD_ROWS)
    return chain.label("questions", "01"), FILES, "not the rows that training_dataset"


def in_weights(chain: Chain) -> tuple[str, str, str]:
    flip(chain.directory("sft_checkpoint") / WEIGHTS)
    return chain.label("sft_checkpoint"), FILES, "not the weights that were stored"


def in_passport(chain: Chain) -> tuple[str, str, str]:
    flip(chain.directory("grpo_checkpoint") / PASSPORT)
    return chain.label("grpo_checkpoint"), FILES, "what the checkpoint says of its origin was changed"


def in_rows_used(chain: Chain) -> tuple[str, str, str]:
    flip(chain.directory("sft_checkpoint") / ROWS)
    return chain.label("sft_checkpoint"), FILES, "which rows its optimizer steps saw can no longer be told"


def parent_deleted(chain: Chain) -> tuple[str, str, str]:
    shutil.rmtree(chain.directory("sft_checkpoint"))
    means = f"what {chain.label('grpo_checkpoint')} was made from can be neither shown nor checked"
    return chain.label("sft_checkpoint"), "is in the store", means


def dataset_deleted(chain: Chain) -> tuple[str, str, str]:
    shutil.rmtree(chain.directory("training_dataset"))
    return chain.label("training_dataset"), "is in the store", "can be neither shown nor checked"


def manifest_deleted(chain: Chain) -> tuple[str, str, str]:
    (chain.directory("histories", "00") / MANIFEST).unlink()
    return chain.label("histories", "00"), "has its manifest", "can be neither shown nor checked"


def file_deleted(chain: Chain) -> tuple[str, str, str]:
    (chain.directory("persona_seeds", "00") / REJECTED).unlink()
    return chain.label("persona_seeds", "00"), FILES, "not the rows that personas/00"


def row_renamed(chain: Chain) -> tuple[str, str, str]:
    rename_row(chain.directory("questions", "00"))
    return chain.label("questions", "00"), NAMED, "its files and manifest.json were edited together"


def shards_swapped(chain: Chain) -> tuple[str, str, str]:
    swap(chain.directory("histories", "00"), chain.directory("histories", "01"))
    return chain.label("histories", "00"), NAMED, "another thing lies in the place of what training_dataset"


def shard_files_swapped(chain: Chain) -> tuple[str, str, str]:
    swap(chain.directory("histories", "00") / SHARD_ROWS, chain.directory("histories", "01") / SHARD_ROWS)
    return chain.label("histories", "00"), FILES, "not the rows that training_dataset"


def checkpoints_swapped(chain: Chain) -> tuple[str, str, str]:
    swap(chain.directory("grpo_checkpoint"), chain.directory("sft_checkpoint"))
    # The root says that it is an SFT checkpoint, under the version of another.
    thing = chain.label("grpo_checkpoint").replace("grpo_checkpoint", "sft_checkpoint")
    return thing, NAMED, "another thing lies in the place of the version asked for"


def manifest_edited(chain: Chain) -> tuple[str, str, str]:
    edit_manifest(chain.directory("personas", "01"), producer={"stage": "personas", "author": "somebody else"})
    return chain.label("personas", "01"), NAMED, "its files and manifest.json were edited together"


def own_manifest_edited(chain: Chain) -> tuple[str, str, str]:
    (chain.directory("grpo_checkpoint") / WEIGHTS).write_bytes(b"other weights")
    edit_manifest(chain.directory("grpo_checkpoint"))
    return chain.label("grpo_checkpoint"), NAMED, "another thing lies in the place of the version asked for"


def manifest_edited_alone(chain: Chain) -> tuple[str, str, str]:
    path = chain.directory("training_dataset") / MANIFEST
    path.write_text(path.read_text().replace(chain.shards["personas"]["00"], "0" * 64))
    return chain.label("training_dataset"), NAMED, "were edited together"


def manifest_unreadable(chain: Chain) -> tuple[str, str, str]:
    (chain.directory("conversations", "00") / MANIFEST).write_text("{")
    return chain.label("conversations", "00"), "has its manifest", "neither shown nor checked"


def making_edited(chain: Chain) -> tuple[str, str, str]:
    path = only_making(chain, "grpo_checkpoint")
    path.write_text(path.read_text().replace("Linux", "Other"))
    return chain.label("grpo_checkpoint"), f"making {path.stem}", "or somebody edited it"


def making_of_another(chain: Chain) -> tuple[str, str, str]:
    own, other = only_making(chain, "sft_checkpoint"), only_making(chain, "grpo_checkpoint")
    shutil.copy(other, own.with_name(other.name))
    return chain.label("sft_checkpoint"), f"making {other.stem}", "not of the checkpoint that it lies beside"


def stray_file(chain: Chain) -> tuple[str, str, str]:
    (chain.directory("grpo_checkpoint") / "modeling.py").write_text("print('hello')")
    return chain.label("grpo_checkpoint"), FILES, "nobody vouches for it"


def seeds_changed(chain: Chain) -> tuple[str, str, str]:
    flip(chain.project / SEEDS_FILE)
    return f"{chain.label('persona_seeds', '00')} and 1 more", f"source {SEEDS_FILE}", "the file was changed since"


def dataset_rewritten(chain: Chain) -> tuple[str, str, str]:
    rewrite(chain, QUESTIONS, Question, "user_query")
    return chain.label("training_dataset"), "rows are its shards'", "rows that nobody of its chain wrote"


def histories_rewritten(chain: Chain) -> tuple[str, str, str]:
    rewrite(chain, HISTORIES, History, "profile")
    return chain.label("training_dataset"), "rows are its shards'", "rows that nobody of its chain wrote"


DAMAGES: list[Callable[[Chain], tuple[str, str, str]]] = [
    in_shard, in_weights, in_passport, in_rows_used, parent_deleted, dataset_deleted, manifest_deleted, file_deleted,
    row_renamed, shards_swapped, shard_files_swapped, checkpoints_swapped, manifest_edited, own_manifest_edited,
    manifest_edited_alone, manifest_unreadable, making_edited, making_of_another, stray_file, seeds_changed,
    dataset_rewritten, histories_rewritten,
]  # fmt: skip
"""Each damages a chain and says: what the first broken link is about, what was recomputed, and words of what it means."""
