"""Where a checkpoint comes from, read off the store: the base model at the bottom, and who wrote the rows behind it.

Everything is found by walking manifests, each of which is checked against the version that names it; the rows themselves
are not read. A shard that does not say what made it ends the walk: training on it could not be traced.
"""

from __future__ import annotations

from collections.abc import Mapping

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.lineage import CHECKPOINTS, GRAPH, ancestors
from personamem_pipeline.passports.chain import Thing, walk
from personamem_pipeline.passports.records import FILE, Author, Data, Passport, read_passport
from personamem_pipeline.store import Manifest, Store

BASE = "base_model"


def trained_source(passport: Passport) -> str | None:
    """The stage that trained what a base model was copied from, where it was one of this project; also a copy's copy.

    What such a source was trained on is in no manifest behind the base model: `training.base` refuses to make one.
    """
    return trained_by((passport.model_extra or {}).get("source"))


def trained_by(papers: object) -> str | None:
    """The stage of this project that trained the model which these papers are of; a base model is a copy, and its source's
    papers lie in its own."""
    while isinstance(papers, Mapping):
        stage = papers.get("stage")
        if isinstance(stage, str) and stage in GRAPH and stage != BASE:
            return stage
        papers = papers.get("source")
    return None


def base_of(store: Store, version: str) -> str:
    """The version of the base model that a checkpoint rests on; its own where it is one."""
    passport = read_passport(store.path(CHECKPOINTS, version))
    if passport.stage == BASE:
        return version
    base = passport.base or passport.inputs.get(BASE)  # passports of format 1 name it among the inputs, if at all
    if base is None:
        raise IntegrityError(
            "the checkpoint does not say which base model it rests on",
            where=store.address(CHECKPOINTS, version),
            remedy=f"materialize {passport.stage} again: an earlier version of this project made it",
        )
    return base


def data_behind(store: Store, dataset: str, version: str) -> Data:
    """What a dataset consists of, and who wrote it, stage by stage; `dataset` is an asset's name."""
    shards = _shards_behind(store, dataset, version)
    authors: list[Author] = []
    for stage in ancestors(dataset):
        authors += _authors(stage, shards[stage], store)
    return Data(dataset=dataset, version=version, authors=tuple(authors))


def _shards_behind(store: Store, dataset: str, version: str) -> dict[str, dict[str, Manifest]]:
    """Stage -> version -> manifest of everything upstream, shards in their order."""
    found: dict[str, dict[str, Manifest]] = {name: {} for name in ancestors(dataset)}

    def visit(thing: Thing) -> Mapping[str, str]:
        manifest = store.manifest(thing.kind, thing.version)
        if thing.name in found:
            found[thing.name][thing.version] = manifest
        return manifest.parents

    walk({dataset: version}, visit)
    return found


def _authors(stage: str, shards: Mapping[str, Manifest], store: Store) -> list[Author]:
    """One author for all shards that were made alike."""
    alike: dict[tuple[str | None, str, str | None, str | None, tuple[tuple[str, str], ...]], list[str]] = {}
    for version, manifest in shards.items():
        made = manifest.producer
        if "code_version" not in made:
            raise IntegrityError(
                "the shard does not say which code made it",
                where=store.address(manifest.kind, version),
                remedy=f"materialize {stage} again",
            )
        files = tuple(sorted((key.removeprefix(FILE), value) for key, value in made.items() if key.startswith(FILE)))
        key = (made.get("author"), made["code_version"], made.get("prompts"), made.get("seed"), files)
        alike.setdefault(key, []).append(version)
    return [
        Author(
            stage=stage, author=author, code_version=code, prompts=prompts, seed=seed,
            rows=sum(shards[version].rows for version in versions), shards=tuple(versions), files=dict(files),
        )
        for (author, code, prompts, seed, files), versions in alike.items()
    ]  # fmt: skip
