"""Which model directory a name stands for, and by which protocol that model writes a memory.

A checkpoint of this project says in its passport how it was trained to read; any other model gets the protocol of large
chat models. What a checkpoint's manifest lists is hashed again first: a cut-off file is named before anything is loaded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import CHECKPOINTS, PASSPORT
from personamem_pipeline.passports.finding import newest
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.settings import Settings
from personamem_pipeline.store import MANIFEST, Store, read_manifest, verify_files

LATEST = ("demo", "latest")
SMOLLM2 = "smollm2"
STAGE = "grpo_checkpoint"
PUBLISHED = MemoryConfig(prompts="full", chunk_tokens=5000, max_chunks=64, memory_tokens=2000, answer_tokens=512)
"""For chat models that we know nothing about: the paper's chunks and memory."""
SMALL = MemoryConfig(prompts="full", chunk_tokens=1500, max_chunks=64, memory_tokens=200, answer_tokens=120)
"""For SmolLM2 on two cores: it gains nothing from more."""


@dataclass(frozen=True)
class FoundModel:
    """A model directory and how to use it."""

    directory: Path
    memory: MemoryConfig
    trained: bool
    """`memory` is what the model was trained with, not a default."""
    context: int | None
    """Most tokens that the model was made for, where its config.json says so."""


def find_model(name: str, settings: Settings) -> FoundModel:
    """The model that `name` means: `demo` or `latest`, `smollm2`, or a directory."""
    default = PUBLISHED
    if name in LATEST:
        store = Store(settings.store)
        directory = store.path(CHECKPOINTS, newest(store, STAGE))
    elif name == SMOLLM2:
        from personamem_pipeline.memory.generators.smollm2 import smollm2_directory

        directory, default = smollm2_directory(settings.home), SMALL
    else:
        directory = Path(name)
    if not directory.is_dir():
        raise UserError(
            "no such model",
            where=directory,
            expected="demo, latest, smollm2, or a local directory with a model in Hugging Face's format",
            remedy="correct --model",
        )
    if (directory / PASSPORT).is_file() and (directory / MANIFEST).is_file():
        verify_files(directory, read_manifest(directory))
    protocol = _json(directory / PASSPORT).get("memory")
    context = _json(directory / "config.json").get("max_position_embeddings")
    return FoundModel(
        directory=directory,
        memory=default if protocol is None else _memory(protocol, directory / PASSPORT),
        trained=protocol is not None,
        context=context if isinstance(context, int) else None,
    )


def _memory(protocol: Any, path: Path) -> MemoryConfig:
    try:
        return MemoryConfig.model_validate(protocol)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"memory.{'.'.join(map(str, first['loc']))}: {first['msg']}",
            where=path,
            expected="the `memory` section of a preset",
            remedy="the checkpoint is of another version of this project: materialize it again",
        ) from error


def _json(path: Path) -> dict[str, Any]:
    """A JSON object; empty when there is no such file (what needs the file says so itself)."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"not JSON: {error}", where=path, remedy="copy or materialize the directory again") from error
    return value if isinstance(value, dict) else {}
