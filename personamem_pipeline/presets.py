"""Presets: one readable YAML file per experiment, typed here.

A stage sees only its own section, and a section's digest is part of that stage's code version: changing a figure makes
exactly the stages that read it stale.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from personamem_pipeline.errors import UserError
from personamem_pipeline.seeds import digest
from personamem_pipeline.settings import PROJECT

PRESETS = PROJECT / "presets"


class Section(BaseModel):
    """A part of a preset: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def digest(self) -> str:
        return digest(self.model_dump(mode="json"))


class SeedsConfig(Section):
    """Who the persons are: a file of seed sentences, or sentences sampled from the built-in tables."""

    file: str | None = None
    """PersonaHub's format: one JSON object per line with `persona`."""
    training_persons: int = Field(gt=0)
    benchmark_persons: int = Field(gt=0)


class PersonasConfig(Section):
    """How many preferences of which kind a person has."""

    self_preferences: int = Field(4, ge=1, le=60)
    others_share: float = Field(0.5, ge=0, le=1, description="chance that somebody near the person has one too")
    sensitive_share: float = Field(0.5, ge=0, le=1, description="chance of one planted private item")
    updated_share: float = Field(0.5, ge=0, le=1, description="chance that one own preference changes")
    forgotten_share: float = Field(0.4, ge=0, le=1, description="chance that one own preference is to be forgotten")


class ConversationsConfig(Section):
    """How preferences are given away."""

    small_talk: int = Field(2, ge=0, description="sessions per person that give nothing away")
    unseen_wording: float = Field(0.2, ge=0, le=1, description="share of the benchmark's evidence in unseen wordings")


class HistoriesConfig(Section):
    """How long a history may get; evidence is never cut."""

    tokens: int = Field(gt=0, description="budget in tokens of message contents")
    tokenizer: str = Field("words", description="`words` or a directory with a Hugging Face tokenizer")


class QuestionsConfig(Section):
    """Bounds of the certificate; a question outside them is refused."""

    blind_orders: int = Field(4, ge=1, le=24)
    max_blind_accuracy: float = Field(0.5, ge=0, le=1)
    oracle_orders: int = Field(2, ge=1, le=24)
    min_oracle_accuracy: float = Field(1.0, ge=0, le=1)


class DataConfig(Section):
    """Everything up to the datasets."""

    seed: int = 0
    shards: int = Field(4, ge=1, le=99)
    seeds: SeedsConfig
    personas: PersonasConfig
    conversations: ConversationsConfig
    histories: HistoriesConfig
    questions: QuestionsConfig


class MemoryConfig(Section):
    """The protocol by which a model reads a chat: shared by SFT, GRPO, evaluation and `personamem read`."""

    prompts: Literal["compact", "full"] = "full"
    chunk_tokens: int = Field(gt=0, description="a chunk is whole messages up to this many tokens")
    max_chunks: int = Field(gt=0)
    memory_tokens: int = Field(gt=0, description="cap of one memory, in the model's own tokens")
    answer_tokens: int = Field(gt=0)


class BaseConfig(Section):
    """The model that training starts from: a local directory in Hugging Face's format."""

    path: str
    """Relative to the project, or absolute."""


class SftConfig(Section):
    """Supervised fine-tuning in the memory-agent format."""

    seed: int = 0
    steps: int = Field(gt=0)
    batch_size: int = Field(gt=0, description="rows (turns) per optimizer step")
    learning_rate: float = Field(gt=0)
    warmup_share: float = Field(0.05, ge=0, le=1)
    write_share: float = Field(0.5, ge=0, le=1, description="share of write turns; the rest are answers")
    open_share: float = Field(0.2, ge=0, le=1, description="share of open-ended questions among the answers")
    max_grad_norm: float = Field(1.0, gt=0)
    save_steps: int = Field(50, gt=0)


class GrpoConfig(Section):
    """GRPO over multi-conversation rollouts."""

    seed: int = 0
    steps: int = Field(gt=0)
    prompts_per_step: int = Field(gt=0, description="questions per optimizer step")
    questions_per_memory: int = Field(1, gt=0, description="questions asked of each memory; 1 is MemAgent's rule")
    rollouts: int = Field(gt=1, description="memories per history asked about; the group of the baseline")
    micro_batch_rows: int = Field(gt=0, description="rows (turns) per forward and backward pass")
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(0, ge=0)
    temperature: float = Field(1.0, gt=0)
    aggregation: Literal["token", "row"] = "token"
    """`token`: all sampled tokens weigh the same (MemAgent, DAPO). `row`: all turns do, so that a short answer is heard."""
    beta: float = Field(0.0, ge=0, description="weight of the KL term to the start")
    epsilon_low: float = Field(0.2, gt=0)
    epsilon_high: float = Field(0.28, gt=0)
    open_share: float = Field(0.2, ge=0, le=1, description="share of open-ended questions in each step")
    max_grad_norm: float = Field(1.0, gt=0)
    save_steps: int = Field(10, gt=0)

    @model_validator(mode="after")
    def _whole_blocks(self) -> GrpoConfig:
        if self.prompts_per_step % self.questions_per_memory:
            raise ValueError("prompts_per_step must be a multiple of questions_per_memory")
        return self


class EvaluationConfig(Section):
    """What the benchmark report measures."""

    seed: int = 0
    option_orders: int = Field(2, ge=1, le=24, description="seeded option orders per question")
    temperature: float = Field(0.0, ge=0, description="of writing and answering; 0 is greedy")
    batch_size: int = Field(64, gt=0)
    bootstrap: int = Field(2000, ge=200, description="resamples for clustered intervals and tests")


class Preset(Section):
    """One experiment."""

    name: str
    data: DataConfig
    memory: MemoryConfig
    base: BaseConfig
    sft: SftConfig
    grpo: GrpoConfig
    evaluation: EvaluationConfig


def load_preset(name: str, *, seed: int | None = None) -> Preset:
    """Read `presets/<name>.yaml` (or the file at that path). `seed` replaces the training stages' seeds."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else PRESETS / f"{name}.yaml"
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in PRESETS.glob("*.yaml")))
        raise UserError("no such preset", where=path, expected=f"one of {known}, or a path to a .yaml file") from None
    except yaml.YAMLError as error:
        raise UserError(f"not YAML: {error}", where=path) from error
    if not isinstance(values, dict):
        raise UserError("a preset is a mapping of sections", where=path, expected="see presets/demo.yaml")
    if seed is not None:
        for stage in ("sft", "grpo"):
            values[stage] = {**values.get(stage, {}), "seed": seed}
    try:
        return Preset.model_validate({"name": path.stem, **values})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{key}: {first['msg']}",
            where=path,
            expected="the keys and ranges described in personamem_pipeline/presets.py",
            remedy=f"correct {key} ({error.error_count()} problem(s) in all)",
        ) from error
