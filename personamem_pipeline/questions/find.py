"""Finding a gathered dataset in the store by the name that a person types."""

from __future__ import annotations

from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import materialize_command
from personamem_pipeline.questions.gather import SPLITS, GatheredKind
from personamem_pipeline.store import Store


def find_dataset(store: Store, name: str) -> tuple[GatheredKind, str]:
    """(kind, version) of `KIND`, the newest one in the store, or `KIND/` and how a version begins."""
    wanted, _, start = name.partition("/")
    kind = next((kind for kind in SPLITS if kind == wanted), None)
    if kind is None:
        raise UserError(f"no such dataset: {name!r}", expected=" or ".join(SPLITS), remedy="name one of them")
    found = [version for version in store.versions(kind) if version.startswith(start)]
    if not found:
        raise UserError(
            f"there is no {kind} yet" if not start else f"no version of {kind} begins with {start}",
            where=store.url,
            expected="a gathered dataset",
            remedy=f"run `{materialize_command(kind)}`" if not start else "correct the version",
        )
    if start and len(found) > 1:
        raise UserError(f"{len(found)} versions begin so", where=name, remedy="give more of the version")
    return kind, found[-1]
