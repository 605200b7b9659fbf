"""Sections that say what data are written, and within which bounds a question is admitted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from personamem_pipeline.presets.section import Section


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
