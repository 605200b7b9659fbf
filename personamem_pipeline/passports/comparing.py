"""Whether the papers of a checkpoint agree: every source states what it knows, and each fact must be the same in all.

What belongs here is the comparison and what the store's own papers state (passport, manifest, making). What Dagster and
MLflow state is read where they are known (`assets/papers.py`, `resources/statements.py`). A source that is to speak of a
kind of fact and does not is a disagreement too: silence would otherwise look like consent. Whether the papers are *true* is
recomputed by `personamem verify`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from personamem_pipeline.lineage import PASSPORT
from personamem_pipeline.passports.records import Making, parse_passport
from personamem_pipeline.store import Manifest

STAGE, CODE, VERSION, INPUT, EVENT, PASSPORT_DIGEST, DAGSTER_RUN, MLFLOW_RUN = (
    "stage",
    "code version",
    "data version",
    "input",
    "event",
    "passport's sha256",
    "Dagster run",
    "MLflow run",
)
"""Kinds of facts. `input` and `event` are one fact per parent: its version, and the materialization that was read."""


@dataclass(frozen=True)
class Statement:
    """What one source says. `about` are the kinds of which it must state every fact that any source states."""

    source: str
    about: frozenset[str]
    facts: Mapping[str, str]
    """Fact (`stage`, `input training_dataset`, ...) -> value; what the source says nothing of is not there."""


def statement(
    source: str,
    *,
    inputs: Mapping[str, str] | None = None,
    events: Mapping[str, str] | None = None,
    facts: Mapping[str, str | None] | None = None,
) -> Statement:
    """A source's statement. A fact that is None belongs to its kinds and is not stated; `inputs` or `events` that are
    None do not."""
    per_parent = {
        f"{kind} {parent}": value
        for kind, stated in ((INPUT, inputs), (EVENT, events))
        for parent, value in (stated or {}).items()
    }
    known = {name: value for name, value in (facts or {}).items() if value}
    kinds = {*(facts or {}), *([] if inputs is None else [INPUT]), *([] if events is None else [EVENT])}
    return Statement(source, frozenset(kinds), {**known, **per_parent})


def disagreements(statements: Sequence[Statement]) -> list[str]:
    """One line per fact on which two sources differ, naming who says what; empty when all agree. A source that is silent
    on all that it should know is one line, too."""
    stated = dict.fromkeys(fact for own in statements for fact in own.facts)
    silent = [own for own in statements if not own.facts and any(_kind(fact) in own.about for fact in stated)]
    found = [f"{own.source} says nothing at all" for own in silent]
    for fact in stated:
        said: dict[str, list[str]] = {}
        for own in statements:
            if _kind(fact) in own.about and own not in silent:
                said.setdefault(own.facts.get(fact, "nothing"), []).append(own.source)
        if len(said) > 1:
            found.append(f"{fact}: {'; '.join(_says(value, sources, said) for value, sources in said.items())}")
    return found


def passport_says(content: bytes, where: Path | str) -> Statement:
    """What a passport with this content states, and its digest. Raises `IntegrityError` when it is none."""
    passport = parse_passport(content, where)
    digest = hashlib.sha256(content).hexdigest()
    facts = {STAGE: passport.stage, CODE: passport.code_version, PASSPORT_DIGEST: digest}
    return statement("the passport", inputs=passport.inputs, facts=facts)


def manifest_says(manifest: Manifest) -> Statement:
    """What the manifest of a stored checkpoint states; its version is recomputed from its text."""
    digests = {entry.path: entry.sha256 for entry in manifest.files}
    facts = {
        STAGE: manifest.producer.get("stage"),
        CODE: manifest.producer.get("code_version"),
        VERSION: manifest.version,
        PASSPORT_DIGEST: digests.get(PASSPORT),
    }
    return statement("the manifest", inputs=manifest.parents, facts=facts)


def making_says(making: Making | None) -> Statement:
    """What the making of a run states; with None, that there is none."""
    origin = making.dagster if making else None
    facts = {
        STAGE: origin.asset if origin else None,
        VERSION: making.checkpoint if making else None,
        PASSPORT_DIGEST: making.passport if making else None,
        DAGSTER_RUN: origin.run_id if origin else None,
        MLFLOW_RUN: making.mlflow_run if making else None,
    }
    events = {parent: str(number) for parent, number in origin.parents.items()} if origin else {}
    return statement("the making", events=events, facts=facts)


def making_of_run(makings: Sequence[Making], dagster_run: str, mlflow_run: str) -> Making | None:
    """The making that a run left: by its MLflow run, which is another one for every retry, else by its Dagster run."""
    by_mlflow = [making for making in makings if making.mlflow_run == mlflow_run]
    by_dagster = [making for making in makings if making.dagster and making.dagster.run_id == dagster_run]
    return next(iter([*by_mlflow, *by_dagster]), None)


def _kind(fact: str) -> str:
    return next((kind for kind in (INPUT, EVENT) if fact.startswith(f"{kind} ")), fact)


def _says(value: str, sources: Sequence[str], others: Iterable[str]) -> str:
    short = value[:12]
    shown = short if len(value) == 64 and sum(other.startswith(short) for other in others) == 1 else value
    return f"{', '.join(sources)} {'say' if len(sources) > 1 else 'says'} {shown}"
