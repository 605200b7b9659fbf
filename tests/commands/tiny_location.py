"""The code location with tiny training commands, for tests of Dagster's command line."""

from __future__ import annotations

import dagster as dg

from personamem_pipeline.definitions import build_assets, default_resources
from personamem_pipeline.settings import load_settings
from tests.pipeline import TINY, small_preset

settings = load_settings()
defs = dg.Definitions(
    assets=build_assets(small_preset(shards=4), settings, TINY),
    resources=default_resources(settings),
    executor=dg.in_process_executor,
)
