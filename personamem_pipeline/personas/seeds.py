"""Who the persons are: one sentence each, from a file in PersonaHub's format or sampled from the tables below.

The built-in tables use the words by which the simulator's world knows its groups (young, office, coast, ...), so that
stereotypical and anti-stereotypical preferences exist for every sampled person. They describe nobody in particular.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import TypeVar

from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import SeedsConfig
from personamem_pipeline.records import PersonaSeed, Split
from personamem_pipeline.seeds import rng

KeyT = TypeVar("KeyT")

AGES = {"A young": 3, "A middle-aged": 3, "An older": 3}
WORK = {"office worker": 3, "manual worker": 3, "creative worker": 2}
WORK_OF_AGE = {"A young": {"student": 3}, "A middle-aged": {}, "An older": {"retired person": 4}}
FAMILY = {"": 4, " and parent": 3, " and single parent": 1, " who is single": 2}
PLACES = {"the city": 4, "the countryside": 3, "the coast": 2}


def make_seeds(config: SeedsConfig, seed: int) -> list[PersonaSeed]:
    """The persons of an experiment: from `config.file` if it names one, else sampled. Training first."""
    return sample_seeds(config, seed) if config.file is None else read_seeds(Path(config.file), config, seed)


def sample_seeds(config: SeedsConfig, seed: int) -> list[PersonaSeed]:
    """Sentences such as `A young office worker and single parent from the city.`"""
    return [
        PersonaSeed(person_id=person_id, split=split, persona=_sentence(rng(seed, "persona seed", person_id)))
        for person_id, split in _places(config)
    ]


def read_seeds(path: Path, config: SeedsConfig, seed: int) -> list[PersonaSeed]:
    """Draw as many persons as `config` wants from a JSON-lines file with `persona` in each line.

    A sentence that occurs twice counts once, so that nobody is in both splits. Raises `UserError` for the first broken
    line, naming it, and when there are too few lines.
    """
    sentences = list(dict.fromkeys(_read_lines(path)))
    places = _places(config)
    if len(sentences) < len(places):
        raise UserError(
            f"{len(sentences)} different personas",
            where=path,
            expected=f"at least {len(places)} ({config.training_persons} for training, "
            f"{config.benchmark_persons} for the benchmark)",
            remedy="use a longer file, or lower data.seeds.training_persons / benchmark_persons in the preset",
        )
    drawn = rng(seed, "persona seeds of a file").sample(sentences, len(places))
    return [
        PersonaSeed(person_id=person_id, split=split, persona=sentence)
        for (person_id, split), sentence in zip(places, drawn, strict=True)
    ]


def _places(config: SeedsConfig) -> list[tuple[str, Split]]:
    training: list[tuple[str, Split]] = [(f"t{index:04d}", "training") for index in range(config.training_persons)]
    return training + [(f"b{index:04d}", "benchmark") for index in range(config.benchmark_persons)]


def _sentence(draw: Random) -> str:
    age = _weighted(draw, AGES)
    work = _weighted(draw, WORK | WORK_OF_AGE[age])
    return f"{age} {work}{_weighted(draw, FAMILY)} from {_weighted(draw, PLACES)}."


def _weighted(draw: Random, table: dict[KeyT, int]) -> KeyT:
    return draw.choices(list(table), list(table.values()))[0]


def _read_lines(path: Path) -> list[str]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UserError(
            f"cannot be read: {error.strerror}",
            where=path,
            expected="a JSON-lines file of personas",
            remedy="correct data.seeds.file in the preset, or remove it to use the built-in tables",
        ) from error
    return [_persona(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]


def _persona(line: bytes, where: str) -> str:
    try:
        value = json.loads(line.decode())
    except ValueError as error:  # not UTF-8, or not JSON
        raise _broken(f"not a JSON object: {error}", where) from error
    persona = value.get("persona") if isinstance(value, dict) else None
    if not isinstance(persona, str) or not persona.strip():
        raise _broken("no `persona` with a text", where)
    return persona.strip()


def _broken(problem: str, where: str) -> UserError:
    return UserError(
        problem,
        where=where,
        expected='one JSON object per line, e.g. {"persona": "A young nurse from the coast."}',
        remedy="correct or delete this line",
    )
