"""Presets: one readable YAML file per experiment, typed here.

A stage sees only its own section, and a section's digest is part of that stage's code version: changing a figure makes
exactly the stages that read it stale.
"""

from personamem_pipeline.presets.data import (
    ConversationsConfig,
    DataConfig,
    HistoriesConfig,
    PersonasConfig,
    QuestionsConfig,
    ReleasedConfig,
    SeedsConfig,
)
from personamem_pipeline.presets.evaluation import (
    EvaluationConfig,
    JudgeConfig,
    PricesConfig,
    RegressionConfig,
    RetrievalConfig,
    SystemConfig,
)
from personamem_pipeline.presets.load import PRESETS, Preset, load_preset
from personamem_pipeline.presets.section import Section
from personamem_pipeline.presets.training import (
    BaseConfig,
    GrpoConfig,
    LoraConfig,
    MemoryConfig,
    ModelShape,
    RewardsConfig,
    SftConfig,
)

__all__ = [
    "PRESETS",
    "BaseConfig",
    "ConversationsConfig",
    "DataConfig",
    "EvaluationConfig",
    "GrpoConfig",
    "HistoriesConfig",
    "JudgeConfig",
    "LoraConfig",
    "MemoryConfig",
    "ModelShape",
    "PersonasConfig",
    "Preset",
    "PricesConfig",
    "QuestionsConfig",
    "RegressionConfig",
    "ReleasedConfig",
    "RetrievalConfig",
    "RewardsConfig",
    "Section",
    "SeedsConfig",
    "SftConfig",
    "SystemConfig",
    "load_preset",
]
