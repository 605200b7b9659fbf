"""Section that says what the benchmark report measures: which systems, how they decode, who judges, what is alarming."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from personamem_pipeline.presets.section import Section

Reading = Literal[
    "memory",
    "oracle",
    "swapped_history",
    "no_history",
    "persona_only",
    "full_context",
    "bm25",
    "embedding",
    "query_aware",
    "query_blind",
    "mem0",
    "predictions",
]
JudgePrompt = Literal["serves", "evidence", "strict"]


class SystemConfig(Section):
    """One system under test: how it comes to know the person (`reading`), and which model answers."""

    reading: Reading
    model: str = Field("grpo", description="base, sft, grpo; endpoint: what the settings name; or a model directory")
    label: str = Field("", description="as reports call it; empty: made from reading and model")
    open: bool = Field(False, description="also ask without options, for the judges")
    memory_tokens: int | None = Field(None, gt=0, description="another cap of the memory than the preset's")
    chunk_tokens: int | None = Field(None, gt=0, description="another chunk size than the preset's")
    path: str = Field("", description="of `predictions`: a JSONL file; relative to the project, or absolute")

    @model_validator(mode="after")
    def _path_of_predictions(self) -> SystemConfig:
        if (self.reading == "predictions") != bool(self.path):
            raise ValueError("`path` belongs to the reading `predictions`, which needs it")
        return self


class RetrievalConfig(Section):
    """RAG as the released rag.py does it (paper-spec 4.1): windows of messages, the best ones in time order."""

    window: int = Field(6, gt=0, description="messages")
    overlap: int = Field(2, ge=0, description="messages that neighbouring windows share")
    top: int = Field(10, gt=0, description="windows that the answer sees")
    embedder: str = Field("minilm", description="minilm: the packaged model; or a model of the embedding endpoint")

    @model_validator(mode="after")
    def _moves_on(self) -> RetrievalConfig:
        if self.overlap >= self.window:
            raise ValueError("overlap must be smaller than window")
        return self


class JudgeConfig(Section):
    """One judge of the panel."""

    prompt: JudgePrompt = "serves"
    endpoint: Literal["author", "reader"] = Field("author", description="which of the settings' two endpoints judges")

    @property
    def name(self) -> str:
        return f"{self.endpoint}/{self.prompt}"


class PricesConfig(Section):
    """Dollars per million tokens, of the model that reads and answers."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)


class RegressionConfig(Section):
    """When the nightly report fails its check: the paired test against the report before."""

    systems: tuple[str, ...] = Field(("grpo",), description="systems that are compared with their earlier selves")
    drop: float = Field(0.01, ge=0, le=1, description="a fall of accuracy beyond this ...")
    p: float = Field(0.05, gt=0, lt=1, description="... with a corrected p value below this is a regression")


def _default_systems() -> dict[str, SystemConfig]:
    def of(reading: Reading, model: str = "grpo", **more: bool) -> SystemConfig:
        return SystemConfig(reading=reading, model=model, **more)

    return {
        "base": of("memory", "base", open=True),
        "sft": of("memory", "sft", open=True),
        "grpo": of("memory", "grpo", open=True),
        "oracle": of("oracle", open=True),
        "full_context": of("full_context", open=True),
        "embedding": of("embedding"),
        "bm25": of("bm25"),
        "persona_only": of("persona_only"),
        "swapped_history": of("swapped_history"),
        "no_history": of("no_history"),
        "query_aware": of("query_aware"),
        "query_blind": of("query_blind"),
    }


class EvaluationConfig(Section):
    """What the benchmark report measures."""

    seed: int = 0
    engine: Literal["transformers", "vllm"] = "transformers"
    """What runs the checkpoints: transformers on any machine, or vLLM, for models and chats that need a GPU."""
    option_orders: int = Field(2, ge=1, le=24, description="seeded option orders per question")
    temperature: float = Field(0.0, ge=0, description="of writing and answering; 0 is greedy")
    batch_size: int = Field(64, gt=0, description="replies that the engine works on at a time")
    people_per_batch: int = Field(100, gt=1, description="persons in memory at a time; a killed run repeats one batch")
    bootstrap: int = Field(2000, ge=200, description="resamples for clustered intervals and tests")
    systems: dict[str, SystemConfig] = Field(default_factory=_default_systems)
    retrieval: RetrievalConfig = RetrievalConfig()
    judges: tuple[JudgeConfig, ...] = Field((JudgeConfig(), JudgeConfig(prompt="evidence")), min_length=1, max_length=3)
    open_threshold: float = Field(0.5, gt=0, le=1, description="a judged score from here counts as right")
    anchors: str = Field("", description="human-labelled CSV (`personamem anchors`) that the judges are held against")
    audit: int = Field(40, ge=0, description="open answers on which the judges' flip rates are measured; 0: none")
    prices: PricesConfig | None = None
    budget_tokens: int | None = Field(
        None, gt=0, description="an evaluation stops after the batch of people that went over"
    )
    leak_people: int = Field(4, ge=0, description="persons on whom the leak probe runs; under 2: none")
    shown_questions: int = Field(200, ge=0, description="questions that the page shows one by one")
    regression: RegressionConfig = RegressionConfig()

    @model_validator(mode="after")
    def _systems_fit(self) -> EvaluationConfig:
        if unknown := sorted(set(self.regression.systems) - set(self.systems)):
            raise ValueError(f"regression.systems names {', '.join(unknown)}, which is not among systems")
        for name, system in self.systems.items():
            if system.reading == "swapped_history" and self.memory_of(system.model) is None:
                raise ValueError(f"{name} swaps the memories of {system.model}, and no system writes them")
        return self

    def memory_of(self, model: str) -> str | None:
        """The system that writes a model's memories by the preset's own protocol."""
        own = (
            name
            for name, system in self.systems.items()
            if (system.reading, system.model, system.memory_tokens, system.chunk_tokens)
            == ("memory", model, None, None)
        )
        return next(own, None)
