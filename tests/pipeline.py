"""What the tests of assets, freshness and the command line share: a small preset, and definitions over tiny commands.

Everything is real but the training and evaluation commands, which `tests/commands/tiny_stage.py` stands in for, as a
process of its own like theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from assets.checkpoints import COMMANDS
from assets.freshness import Stale, stale_assets
from personamem_pipeline.definitions import build_assets, default_resources
from personamem_pipeline.demo import code_versions, materialize
from personamem_pipeline.lineage import shard_names
from personamem_pipeline.presets import Preset, load_preset
from personamem_pipeline.settings import Settings
from personamem_pipeline.store import Store

TINY = {name: "tests.commands.tiny_stage" for name in COMMANDS}
DATA = ["persona_seeds", "personas", "conversations", "histories", "questions", "training_dataset", "benchmark"]


def small_preset(**data: Any) -> Preset:
    """The demo preset with two shards, two dozen persons, and bounds that so few rows can keep."""
    preset = load_preset("demo")
    seeds = preset.data.seeds.model_copy(update={"training_persons": 16, "benchmark_persons": 10})
    wide = {"max_slice_blind": 1.0, "max_length_guess": 1.0, "max_type_shift": 1.0, "max_topic_share": 1.0}
    questions = preset.data.questions.model_copy(update=wide)
    own = {"shards": 2, "seeds": seeds, "questions": questions, **data}
    return preset.model_copy(update={"data": preset.data.model_copy(update=own)})


def settings_at(home: Path) -> Settings:
    """Settings of an installation of its own."""
    return Settings(
        home=home,
        preset="demo",
        llm_base_url=None,
        llm_model="simulator/1",
        llm_api_key=None,
        mlflow_uri=f"sqlite:///{home / 'mlflow.db'}",
        seed=None,
    )


@dataclass
class Pipeline:
    """An installation in a directory of its own."""

    home: Path
    instance: dg.DagsterInstance
    preset: Preset

    @property
    def settings(self) -> Settings:
        return settings_at(self.home)

    @property
    def store(self) -> Store:
        return Store(self.settings.store)

    @property
    def shards(self) -> tuple[str, ...]:
        return shard_names(self.preset.data.shards)

    def definitions(self, **resources: Any) -> dg.Definitions:
        return dg.Definitions(
            assets=build_assets(self.preset, self.settings, TINY),
            resources={**default_resources(self.settings), **resources},
            executor=dg.in_process_executor,
        )

    def run(self, *names: str, shards: tuple[str, ...] | None = None, config: Any = None) -> dg.ExecuteInProcessResult:
        chosen = self.shards if shards is None else shards
        return materialize(self.definitions(), self.instance, names, chosen, run_config=config)

    def stale(self) -> list[Stale]:
        versions = code_versions(self.definitions())
        return stale_assets(self.instance, self.store, versions, self.shards)

    def metadata(self, name: str, shard: str | None = None) -> dict[str, Any]:
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(name), asset_partitions=[shard] if shard else None)
        event = self.instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
        assert event is not None
        return {key: value.value for key, value in event.metadata.items()}
