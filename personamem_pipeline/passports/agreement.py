"""What a checkpoint's passport says, held against what lies in the store: not digests but facts that must agree.

A digest proves that nobody changed a paper; these comparisons, that it was true when it was written. Each yields one link.
They are made only with papers and parents whose bytes were found whole: what cannot be believed is already a broken link.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.lineage import GRAPH, PASSPORT
from personamem_pipeline.passports.chain import SHORT
from personamem_pipeline.passports.comparing import CODE, STAGE, disagreements, manifest_says, passport_says
from personamem_pipeline.passports.examine import DATASET, Look, Looks, above
from personamem_pipeline.passports.links import Link, broken, compare
from personamem_pipeline.passports.records import Author, Passport, read_passport
from personamem_pipeline.passports.rewarded import reward_link
from personamem_pipeline.passports.seen_rows import rows_link
from personamem_pipeline.passports.sources import data_behind, trained_source
from personamem_pipeline.seeds import canonical_json, digest
from personamem_pipeline.store import Store

REWARDED = "grpo_checkpoint"


def passport_links(look: Look, looks: Looks, store: Store) -> Iterator[Link]:
    """All links of one checkpoint's passport. One that was changed or is missing is a broken link of the files already."""
    label, mute = look.thing.label, "the checkpoint does not say what it was made from"
    if PASSPORT not in look.listed:
        yield Link(label, "has a passport", "BROKEN", f"the manifest lists no {PASSPORT}", mute)
        return
    if not look.whole(PASSPORT):
        return
    try:
        passport = read_passport(look.directory)
    except IntegrityError as error:
        yield Link(label, "passport", "BROKEN", error.problem, mute)
        return
    yield _manifest(look, passport)
    yield _preset(label, passport)
    if source := trained_source(passport):
        found = f"it was copied from a {source} of this project"
        means = "the rows that its source was trained on, and who wrote them, are in no link of this chain"
        yield Link(label, "comes from elsewhere", "gap", found, means)
    if DATASET not in GRAPH[look.thing.name].parents:
        return
    if passport.format < 2:
        found = (
            f"format {passport.format} does not state its base model, who wrote its data, and which rows its steps saw"
        )
        means = "who wrote the data follows from the shards' manifests; which rows were seen cannot be told"
        yield Link(label, "passport states everything", "gap", found, means)
    else:
        yield _base(look, passport, looks)
        yield _authors(label, passport, store)
        yield rows_link(look, passport, looks)
        if look.thing.name == REWARDED:
            yield reward_link(label, passport)


def _manifest(look: Look, passport: Passport) -> Link:
    label, what = look.thing.label, "passport agrees with the manifest"
    assert look.manifest is not None  # the caller looks only at what is whole
    path = look.directory / PASSPORT
    own = manifest_says(look.manifest)
    silent = sorted({STAGE, CODE} - set(own.facts))
    own = replace(own, about=own.about - set(silent))
    problems = disagreements([passport_says(path.read_bytes(), path), own])
    section, config = passport.preset.get("digest"), look.manifest.producer.get("config")
    if config not in (None, section):
        problems.append(f"preset section: the passport says {section}, the manifest says {config}")
    if problems:
        means = "two papers of the checkpoint tell different stories of its origin"
        return broken(label, what, problems, means)
    if silent:
        return Link(label, what, "gap", f"the manifest states no {' and no '.join(silent)}", "only its passport does")
    return Link(label, what, "ok", f"stage, code version, {len(passport.inputs)} parents")


def _preset(label: str, passport: Passport) -> Link:
    if "section" not in passport.preset:
        return Link(label, "preset section", "gap", "not stated", "with which figures it was trained cannot be told")
    pairs = {"digest": (passport.preset.get("digest"), digest(passport.preset["section"]))}
    means = "the figures shown are not those it was trained with"
    return compare(label, "preset section has its digest", pairs, means)


def _base(look: Look, passport: Passport, looks: Looks) -> Link:
    """The base model that is stated, against the one at the bottom of the chain."""
    label, what = look.thing.label, "base is the chain's"
    bases = {version for name, version in above(look.thing, looks) if name == "base_model"}
    if not bases:
        return Link(label, what, "gap", "the chain does not reach one", "what it grew from is unproven")
    pairs = {"base model": (passport.base, ", ".join(sorted(bases)))}
    return compare(label, what, pairs, "the checkpoint grew from another model than it says")


def _authors(label: str, passport: Passport, store: Store) -> Link:
    """Who wrote the data, against what the shards' own manifests say of their makers."""
    what, data = "data agrees with the shards", passport.data
    means = "other authors, prompts or seeds wrote the rows than the checkpoint says"
    if data is None:
        return Link(label, what, "gap", "not stated", "who wrote the rows follows from the shards' manifests only")
    if data.dataset != DATASET or data.version != passport.inputs.get(DATASET):
        return Link(label, what, "BROKEN", f"it is about {data.dataset} {data.version[:SHORT]}", means)
    try:
        found = data_behind(store, DATASET, data.version)
    except IntegrityError as error:
        return Link(label, what, "gap", f"a shard cannot be believed: {error.problem}", "see the broken links")
    problems = [
        *(f"{author.stage}: stated is {_told(author)}" for author in data.authors if author not in found.authors),
        *(f"{author.stage}: its shards say {_told(author)}" for author in found.authors if author not in data.authors),
    ]
    if problems:
        return broken(label, what, problems, means)
    return Link(label, what, "ok", f"{sum(len(author.shards) for author in found.authors)} shards")


def _told(author: Author) -> str:
    told = author.model_dump(exclude={"stage", "shards"}) | {"shards": len(author.shards)}
    return canonical_json({name: value for name, value in told.items() if value not in (None, {})})
