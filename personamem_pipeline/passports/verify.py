"""Recomputing a checkpoint's whole chain: `personamem verify CHECKPOINT`.

From the checkpoint over its parents and every data shard down to the file that the persons were drawn from, each digest is
computed again and compared with the one that names it; then what the papers say is held against what lies there. The
first broken link is the break nearest to the checkpoint, and everything that was made from what is broken rests on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.lineage import CHECKPOINTS, PASSPORT
from personamem_pipeline.passports.agreement import passport_links
from personamem_pipeline.passports.beside import commit_of, making_links, source_links
from personamem_pipeline.passports.chain import SHORT, Thing, walk
from personamem_pipeline.passports.examine import DATASET, Look, examine
from personamem_pipeline.passports.finding import STAGES, FoundCheckpoint, on_disk, stage_of
from personamem_pipeline.passports.links import Link, Verification, changed_file, gone
from personamem_pipeline.passports.reading import readable
from personamem_pipeline.passports.seen_rows import benchmark_links, dataset_link
from personamem_pipeline.passports.signing import signed_makings, verify_signature
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.store import MANIFEST, Store, read_manifest


def verify(
    store: Store, found: FoundCheckpoint, *, project: Path = PROJECT, public_key: Path | None = None
) -> Verification:
    """All links of a checkpoint's chain, and with `public_key` its signature.

    `project` is what the paths of source files are relative to. Raises `UserError` only where nothing can be looked at:
    the directory is no checkpoint, the store cannot be reached, or the key is none.
    """
    where = str(found.copy or store.address(CHECKPOINTS, str(found.version)))
    root = _root(store, found)
    if isinstance(root, Link):
        return Verification(found.version or "unknown", "checkpoint", where, [root])
    result = Verification(root.version, root.name, where)
    looks: dict[tuple[str, str], Look] = {}

    def is_root(thing: Thing) -> bool:
        return (thing.name, thing.version) == (root.name, root.version)

    def visit(thing: Thing) -> Mapping[str, str]:
        look = looks[thing.name, thing.version] = _look(store, thing, found.copy if is_root(thing) else None)
        result.links += look.links
        return look.parents

    if found.version is None and not store.has(CHECKPOINTS, root.version):
        means = f"it is whole if it should be {root.version}: compare that with what its maker, Dagster or MLflow says"
        found_out = "nothing here names its version"
        result.links.append(Link(root.label, "is the version asked for", "gap", found_out, means))
    walk({root.name: root.version}, visit)
    first, beside = looks[root.name, root.version], found.attached(store)
    if public_key:
        result.links.append(_signature(first, beside, public_key))
    for look in looks.values():
        if look.thing.name == DATASET and look.manifest is not None:
            result.links.append(dataset_link(look, looks))
        if look.thing.kind == CHECKPOINTS and look.manifest is not None:
            result.links += passport_links(look, looks, store)
            attached = beside if look is first else store.attachments(CHECKPOINTS, look.thing.version)
            signed = signed_makings(attached, public_key) if public_key else ()
            result.links += making_links(look, attached, signed)
    result.links += source_links(looks, project, commit_of(first, beside))
    result.links += benchmark_links(store, looks)
    return result


def _root(store: Store, found: FoundCheckpoint) -> Thing | Link:
    """Where the walk begins; a broken link where the checkpoint cannot even say which asset it is."""
    about = f"checkpoint {found.version[:SHORT] if found.version else found.copy}"
    try:
        with readable(about):
            if found.copy or on_disk(store):
                manifest = read_manifest(found.directory(store))
            else:  # a local copy of what was in the bucket once is not believed
                manifest = store.manifest(CHECKPOINTS, str(found.version))
            stage = stage_of(store, found, manifest)
    except IntegrityError as error:
        if found.copy and not any((found.copy / name).exists() for name in (MANIFEST, PASSPORT)):
            raise UserError(
                "no checkpoint of this project",
                where=found.copy,
                expected=f"a directory out of the store, with {MANIFEST} and {PASSPORT}",
                remedy="copy the whole directory, or name another checkpoint",
            ) from error
        return Link(about, "has its manifest", "BROKEN", f"{error.where}: {error.problem}", gone(""))
    if stage in STAGES:
        return Thing(stage, found.version or manifest.version)
    means = "it is no checkpoint, or its papers were edited: nothing that they say of its origin can be followed"
    return Link(about, "is an asset of the graph", "BROKEN", f"its papers say that {stage} made it", means)


def _signature(look: Look, attached: Mapping[str, bytes], public_key: Path) -> Link:
    if look.manifest is None:
        means = "whether its signature holds is not asked of what is broken"
        return Link(look.thing.label, "is signed by the key", "gap", "its files are not at hand", means)
    try:
        name = verify_signature(look.directory, attached, public_key)
    except IntegrityError as error:
        means = "whoever holds this key does not stand for what lies here"
        return Link(look.thing.label, "is signed by the key", "BROKEN", error.problem, means)
    return Link(look.thing.label, "is signed by the key", "ok", name)


def _look(store: Store, thing: Thing, copy: Path | None) -> Look:
    """What is found at one thing. A broken one is a broken link, a store that cannot be reached an error.

    Of a store in a bucket it is the bucket that is hashed first: a local copy of what was there once proves nothing.
    """
    if copy:
        return examine(thing, copy)
    try:
        if on_disk(store):
            return examine(thing, store.path(thing.kind, thing.version))
        with readable(store.address(thing.kind, thing.version)):
            store.check(thing.kind, thing.version)
            directory = store.verified(thing.kind, thing.version)
        return examine(thing, directory)
    except IntegrityError as error:
        means = changed_file(error.where, thing.child) if store.has(thing.kind, thing.version) else gone(thing.child)
        link = Link(thing.label, "is whole in the store", "BROKEN", f"{error.where}: {error.problem}", means)
        return Look(thing, store.root, [link])
