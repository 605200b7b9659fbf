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
    """Who the persons are: sentences from a file or made from demographic tables, and attributes drawn from the tables."""

    file: str | None = None
    """PersonaHub's format: one JSON object per line with `persona`."""
    tables: str = "simulator"
    """A file in `personamem_pipeline/personas/tables/` (`simulator`, `demographics`), or a path to one like them."""
    training_persons: int = Field(gt=0)
    benchmark_persons: int = Field(gt=0)


class PersonasConfig(Section):
    """How many preferences of which kind a person has."""

    self_preferences: int = Field(4, ge=1, le=60)
    others_share: float = Field(0.5, ge=0, le=1, description="chance that somebody near the person has one too")
    sensitive_share: float = Field(0.5, ge=0, le=1, description="chance of one planted private item")
    updated_share: float = Field(0.5, ge=0, le=1, description="chance that one own preference changes")
    forgotten_share: float = Field(0.4, ge=0, le=1, description="chance that one own preference is to be forgotten")
    per_chance: int = Field(1, ge=1, description="how often each of the four chances above is drawn")
    review: bool = Field(True, description="a reader looks for duplicates and contradictions among the preferences")


class ConversationsConfig(Section):
    """How preferences are given away."""

    small_talk: int = Field(2, ge=0, description="sessions per person that give nothing away")
    unseen_wording: float = Field(0.2, ge=0, le=1, description="share of the benchmark's evidence in unseen wordings")
    length: Literal["short", "long"] = Field("short", description="short: a line or two a message; long: whole drafts")
    knowledge_repeats: int = Field(1, ge=1, le=6, description="times at most that a knowledge query comes back")
    extended_share: float = Field(0.0, ge=0, le=1, description="share of sessions that go on for 1-2 more exchanges")


class HistoriesConfig(Section):
    """How long a history may get; evidence is never cut."""

    tokens: int = Field(gt=0, description="budget of the person's own sessions, in tokens of message contents")
    tokenizer: str = Field("words", description="`words`, `gpt-4o`, or a directory with a Hugging Face tokenizer")
    pad_to: int | None = Field(None, gt=0, description="fill up with padding dialogues to this many tokens")
    padding: str = Field("builtin", description="`builtin`, or a JSON-lines file of dialogues to pad with")
    profile_message: bool = Field(False, description="open the chat with the public profile, as the released data do")


class QuestionsConfig(Section):
    """Bounds of the certificate; a question outside them is refused. Shares of option orders unless said otherwise."""

    blind_orders: int = Field(4, ge=1, le=24)
    max_blind_accuracy: float = Field(0.5, ge=0, le=1)
    oracle_orders: int = Field(2, ge=1, le=24)
    min_oracle_accuracy: float = Field(1.0, ge=0, le=1)
    swapped_orders: int = Field(2, ge=1, le=24)
    max_swapped_accuracy: float = Field(0.5, ge=0, le=1)
    min_implicitness: float = Field(1.0, ge=0, le=1, description="share of revealing turns that do not state it")
    max_slice_blind: float = Field(0.3, ge=0, le=1, description="mean blind accuracy over a dataset")
    min_slice_oracle: float = Field(0.9, ge=0, le=1, description="mean oracle accuracy over a dataset")
    max_length_guess: float = Field(0.3, ge=0.25, le=1, description="longest and shortest guess on each question type")
    near_duplicate: float | None = Field(0.8, gt=0, le=0.95, description="Jaccard similarity from which on; null: any")
    max_type_shift: float = Field(0.25, ge=0, le=1, description="by which part of it a type's share may miss its plan")
    max_topic_share: float = Field(0.2, gt=0, le=1, description="share of one topic in a dataset")
    min_demographics_p: float = Field(1e-4, ge=0, le=1, description="chi-square p of attributes against their tables")


class ReleasedConfig(Section):
    """Files of the released PersonaMem-v2 dataset, to be read instead of writing one."""

    root: str
    """The directory that the paths in the CSV files (`data/chat_history_32k/...`) are relative to."""
    training: tuple[str, ...]
    """CSV files of the training persons, relative to `root` (the released train.csv and val.csv)."""
    benchmark: str
    """The CSV file of the benchmark, relative to `root`."""
    size: Literal["32k", "128k"] = "32k"
    strict: bool = Field(False, description="refuse files with faults instead of reporting them")


class DataConfig(Section):
    """Everything up to the datasets."""

    dataset: Literal["written", "released"] = "written"
    """`released`: the same assets read the files of `released`; the sections that say how to write are not used."""
    released: ReleasedConfig | None = None
    seed: int = 0
    shards: int = Field(4, ge=1, le=99)
    seeds: SeedsConfig | None = None
    """None only where nothing is written."""
    personas: PersonasConfig = PersonasConfig()
    conversations: ConversationsConfig = ConversationsConfig()
    histories: HistoriesConfig
    questions: QuestionsConfig = QuestionsConfig()

    @model_validator(mode="after")
    def _sources(self) -> DataConfig:
        if (self.dataset == "released") != (self.released is not None):
            raise ValueError("`released` names the files of `dataset: released`, and only of it")
        if (self.dataset == "written") != (self.seeds is not None):
            raise ValueError("`seeds` says for whom to write, and `dataset: released` writes nobody")
        return self


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
