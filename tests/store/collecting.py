"""What the tests of garbage collection share: small things in a store, and what would go of them."""

from __future__ import annotations

import json
import time
from pathlib import Path

from personamem_pipeline.store import Store, gc

DAY = 24 * 3600.0


def make(store: Store, kind: str, where: Path, *parents: str, name: str = "a", passport: object = None) -> str:
    """Put a thing that names its parents, and in its passport more; returns its version."""
    where.mkdir(parents=True, exist_ok=True)
    (where / "content").write_text(name)
    (where / "passport.json").unlink(missing_ok=True)
    if passport:
        (where / "passport.json").write_text(json.dumps(passport))
    named = {f"personas/{number:02d}": parent for number, parent in enumerate(parents)}
    return store.put_directory(kind, where, parents=named, producer={"name": name}).version


def choose(store: Store, *alive: str, later: float = 2 * DAY) -> gc.Plan:
    """What would go if it were two days later."""
    return gc.plan(
        gc.look(store), alive, (), lambda one: gc.named_by(store, one), now=time.time() + later, age=DAY, keep_reports=0
    )
