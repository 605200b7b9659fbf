"""What may happen to a chain, and what `verify` must say of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from personamem_pipeline.lineage import PASSPORT
from personamem_pipeline.passports.records import ROWS
from personamem_pipeline.questions.copying import HISTORIES, QUESTIONS
from personamem_pipeline.records import History, Question
from personamem_pipeline.store import MANIFEST, REJECTED, read_manifest
from personamem_pipeline.store import ROWS as SHARD_ROWS
from tests.passports.chains import SEEDS_FILE, Chain, checkpoint, questions
from tests.passports.damaging import (
    edit_manifest,
    flip,
    leave_out_papers,
    only_making,
    rename_row,
    restore,
    rewrite,
    swap,
)

NAMED, FILES = "is the version that is named", "files are the manifest's"
WEIGHTS = "model.safetensors"


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


def passport_left_out(chain: Chain) -> tuple[str, str, str]:
    leave_out_papers(chain, "grpo_checkpoint")
    return chain.label("grpo_checkpoint"), "has a passport", "does not say what it was made from"


def passport_of_a_parent_left_out(chain: Chain) -> tuple[str, str, str]:
    leave_out_papers(chain, "sft_checkpoint")
    steps = [[row.question_id for row in questions(chain)[:4]]]
    chain.versions["grpo_checkpoint"] = checkpoint(chain, "grpo_checkpoint", {}, steps)
    return chain.label("sft_checkpoint"), "has a passport", "does not say what it was made from"


def lines_ended_otherwise(chain: Chain) -> tuple[str, str, str]:
    path = chain.directory("base_model") / MANIFEST
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    return chain.label("base_model"), FILES, "not the file that was stored"


def one_byte_that_is_read_as_the_same(chain: Chain) -> tuple[str, str, str]:
    path = chain.directory("questions", "00") / MANIFEST
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r", 1))
    return chain.label("questions", "00"), FILES, "not the file that was stored"


def manifest_is_a_directory(chain: Chain) -> tuple[str, str, str]:
    path = chain.directory("sft_checkpoint") / MANIFEST
    path.unlink()
    path.mkdir()
    return chain.label("sft_checkpoint"), "has its manifest", "can be neither shown nor checked"


def name_too_long(chain: Chain) -> tuple[str, str, str]:
    manifest = read_manifest(chain.directory("grpo_checkpoint"))
    entry = manifest.files[0].model_copy(update={"path": "x" * 300})
    restore(chain, "grpo_checkpoint", manifest.model_copy(update={"files": (entry, *manifest.files)}))
    return chain.label("grpo_checkpoint"), FILES, "cannot be told on this machine"


def failing_disk(chain: Chain) -> tuple[str, str, str]:
    path = chain.directory("sft_checkpoint") / WEIGHTS
    path.unlink()
    path.symlink_to("/proc/self/mem")  # opens, and answers every read with EIO
    return chain.label("sft_checkpoint"), FILES, "cannot be told on this machine"


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
    dataset_rewritten, histories_rewritten, passport_left_out, passport_of_a_parent_left_out, lines_ended_otherwise,
    one_byte_that_is_read_as_the_same, manifest_is_a_directory, name_too_long, failing_disk,
]  # fmt: skip
"""Each damages a chain and says: what the first broken link is about, what was recomputed, and words of what it means."""
