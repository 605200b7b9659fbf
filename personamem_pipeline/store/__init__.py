"""Immutable, content-addressed datasets and directories, on a local disk or in a bucket.

Two kinds of thing live here, both named by what is in them:

- a *dataset*: the rows of one record type in a Parquet file, the rejected ones beside them, plus `manifest.json`;
- a *directory* (a checkpoint, a report): any files plus `manifest.json`.

The version of either is the SHA-256 of its manifest, which lists every file with its own SHA-256, the parents'
versions and the producer. Everything is written under a scratch name and renamed when complete (in a bucket: the manifest
comes last), so the existence of a manifest means that the data are whole. There are no timestamps inside: the same rows
give the same version. What is said *about* a version later (who made it, on what, a signature) is attached beside it.
"""

from __future__ import annotations

from personamem_pipeline.store.disk import attached_files
from personamem_pipeline.store.files import FileProblem, file_problems, verify_files
from personamem_pipeline.store.manifest import (
    ATTACHED,
    MANIFEST,
    REJECTED,
    ROWS,
    SCHEMA_VERSION,
    FileEntry,
    Manifest,
    read_manifest,
    sha256_file,
)
from personamem_pipeline.store.store import Store
from personamem_pipeline.store.writing import (
    full_disk_told,
    scratch_directory,
    write_bytes_atomically,
    write_json_atomically,
)

__all__ = [
    "ATTACHED",
    "MANIFEST",
    "REJECTED",
    "ROWS",
    "SCHEMA_VERSION",
    "FileEntry",
    "FileProblem",
    "Manifest",
    "Store",
    "attached_files",
    "file_problems",
    "full_disk_told",
    "read_manifest",
    "scratch_directory",
    "sha256_file",
    "verify_files",
    "write_bytes_atomically",
    "write_json_atomically",
]
