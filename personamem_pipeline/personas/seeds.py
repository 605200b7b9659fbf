"""Who the persons are: one sentence each, drawn from a file in PersonaHub's format or made from demographic tables.

Beside the sentence a seed has attributes drawn from the tables (`demographics.py`). Where the tables made the sentence
they say the same; beside a sentence from a file they are hints, and where the sentence says otherwise, the sentence wins.
"""

from __future__ import annotations

import heapq
import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from personamem_pipeline.errors import UserError
from personamem_pipeline.personas.demographics import Tables, load_tables
from personamem_pipeline.presets import SeedsConfig
from personamem_pipeline.records import PersonaSeed, Split
from personamem_pipeline.seeds import rng, stable_int
from personamem_pipeline.settings import PROJECT

LINE_LIMIT = 64 * 1024
"""Bytes of one line. A sentence has some hundred; a line far beyond that is not what it should be."""


@dataclass(frozen=True)
class DrawnSeeds:
    """The persons of an experiment, training first, and what the file they came from holds (0 when there is none)."""

    rows: list[PersonaSeed]
    lines: int = 0
    """Sentences in the file."""
    duplicates: int = 0
    """How many of them had stood there before, whatever their case and spacing; each counts once in the draw."""


def draw_seeds(config: SeedsConfig, seed: int) -> DrawnSeeds:
    """The persons of an experiment: sentences of `config.file` if it names one, else of the tables."""
    tables = load_tables(config.tables)
    places = _places(config)
    if config.file is None:
        return DrawnSeeds([_seed(*place, tables, seed) for place in places])
    path = PROJECT / config.file
    sentences, lines, distinct = _draw_sentences(path, len(places), seed)
    if distinct < len(places):
        raise UserError(
            f"{distinct} different personas",
            where=path,
            expected=f"at least {len(places)} ({config.training_persons} for training, "
            f"{config.benchmark_persons} for the benchmark)",
            remedy="use a longer file, or lower data.seeds.training_persons / benchmark_persons in the preset",
        )
    rows = [
        _seed(*place, tables, seed).model_copy(update={"persona": sentence})
        for place, sentence in zip(places, sentences, strict=True)
    ]
    return DrawnSeeds(rows, lines, lines - distinct)


def _places(config: SeedsConfig) -> list[tuple[str, Split]]:
    training: list[tuple[str, Split]] = [(f"t{index:04d}", "training") for index in range(config.training_persons)]
    return training + [(f"b{index:04d}", "benchmark") for index in range(config.benchmark_persons)]


def _seed(person_id: str, split: Split, tables: Tables, seed: int) -> PersonaSeed:
    sentence, attributes = tables.draw(rng(seed, "persona seed", person_id))
    return PersonaSeed(person_id=person_id, split=split, persona=sentence, attributes=attributes)


def _draw_sentences(path: Path, wanted: int, seed: int) -> tuple[list[str], int, int]:
    """(a draw of up to `wanted` different sentences, lines read, different sentences in the file).

    Every sentence has a rank by a stable hash and the lowest ranks are drawn: the order of the lines does not matter,
    and however long the file, only the draw and 8 bytes per line are held.
    """
    import numpy as np

    kept: dict[int, str] = {}
    highest_first: list[int] = []
    ranks = array("Q")
    for sentence in _sentences(path):
        rank = stable_int(seed, "persona seeds of a file", sentence.casefold())
        ranks.append(rank)
        if rank in kept:  # of two spellings the same one wins in whatever order they come
            kept[rank] = min(kept[rank], sentence)
        elif len(kept) < wanted:
            heapq.heappush(highest_first, -rank)
            kept[rank] = sentence
        elif rank < -highest_first[0]:
            del kept[-heapq.heapreplace(highest_first, -rank)]
            kept[rank] = sentence
    distinct = len(np.unique(np.frombuffer(ranks, dtype=np.uint64)))
    return [kept[rank] for rank in sorted(kept)], len(ranks), distinct


def _sentences(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(LINE_LIMIT + 1):
                number += 1
                if len(line) > LINE_LIMIT:
                    raise _broken(f"a line of more than {LINE_LIMIT // 1024} kB", f"{path}:{number}")
                if line.strip():
                    yield _sentence(line, f"{path}:{number}")
    except OSError as error:
        raise UserError(
            f"cannot be read: {error.strerror}",
            where=path,
            expected="a JSON-lines file of personas",
            remedy="correct data.seeds.file in the preset, or remove it to make the sentences from the tables",
        ) from error


def _sentence(line: bytes, where: str) -> str:
    try:
        value = json.loads(line.decode("utf-8-sig"))  # Windows' editors open a file with a byte order mark
        persona = value.get("persona") if isinstance(value, dict) else None
        sentence = " ".join(persona.split()) if isinstance(persona, str) else ""
        sentence.encode()  # JSON can name half a character (a lone surrogate), which nothing can store
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested without end
        raise _broken(f"not a JSON object: {error}", where) from error
    if not sentence:
        raise _broken("no `persona` with a text", where)
    return sentence


def _broken(problem: str, where: str) -> UserError:
    return UserError(
        problem,
        where=where,
        expected='one JSON object per line, e.g. {"persona": "A young nurse from the coast."}',
        remedy="correct or delete this line",
    )
