"""Where datasets and checkpoints are kept."""

from __future__ import annotations

import dagster as dg

from personamem_pipeline.store import Store


class StoreResource(dg.ConfigurableResource):
    """The content-addressed store under `root`."""

    root: str

    def open(self) -> Store:
        """The store itself, which knows no Dagster."""
        return Store(self.root)
