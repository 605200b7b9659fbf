"""Which released files a preset reads, and what they held: for the producers of the shards that are made from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import ReleasedConfig
from personamem_pipeline.questions.released_people import history_path, open_files
from personamem_pipeline.seeds import digest
from personamem_pipeline.store import sha256_file


def table_paths(config: ReleasedConfig) -> tuple[str, ...]:
    """The CSV files of a preset, each as `<root>/<name>` with the root as the preset names it."""
    return tuple(Path(config.root, name).as_posix() for name in (*config.training, config.benchmark))


def chats_digest(config: ReleasedConfig, person_ids: Sequence[str]) -> str:
    """One digest over the chat files of these persons: each link with the file's SHA-256, and None where it leads nowhere.

    There is a chat for every person, so that a producer which named them all would be longer than its rows.
    """
    files = open_files(config)
    links = sorted({files.person(name).link for name in person_ids})
    return digest([[link, _sha256(files.root, link)] for link in links])


def _sha256(root: Path, link: str) -> str | None:
    """None for a link that leads to no file; whose person it was is among the rejected rows, with the reason."""
    try:
        return sha256_file(history_path(root, link))
    except (UserError, FileNotFoundError):
        return None
