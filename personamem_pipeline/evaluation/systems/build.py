"""From the preset's list to systems: which can be run here (a report tells why not), what each is called, and making it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from personamem_pipeline.evaluation.models import ENDPOINT, Models
from personamem_pipeline.evaluation.records import Role
from personamem_pipeline.evaluation.scoring.runs import TRAINED
from personamem_pipeline.evaluation.source import Source
from personamem_pipeline.evaluation.systems.base import Named, System
from personamem_pipeline.evaluation.systems.context import FullContext, NoHistory, PersonaOnly
from personamem_pipeline.evaluation.systems.embedders import EmbeddingRanker, embedding_ranker
from personamem_pipeline.evaluation.systems.embedding_endpoint import EmbeddingEndpoint
from personamem_pipeline.evaluation.systems.memory import Memories, MemorySystem, Oracle, SwappedHistory
from personamem_pipeline.evaluation.systems.query_aware import QueryAware, QueryBlind
from personamem_pipeline.evaluation.systems.retrieval import Retrieval, bm25_ranker
from personamem_pipeline.evaluation.systems.timed import Timed
from personamem_pipeline.presets import EvaluationConfig, MemoryConfig, SystemConfig
from personamem_pipeline.settings import PROJECT, load_settings

CONTROLS = ("oracle", "swapped_history", "no_history", "persona_only", "query_aware", "query_blind")
LABELS = {
    "oracle": "only the evidence turns (oracle)",
    "swapped_history": "another person's memory",
    "no_history": "no history",
    "persona_only": "the public profile only",
    "full_context": "whole chat in the prompt",
    "bm25": "BM25 retrieval",
    "embedding": "embedding retrieval",
    "query_aware": "released writing, knowing the question",
    "query_blind": "released writing, without the question",
    "mem0": "mem0",
}


@dataclass(frozen=True)
class Needs:
    """What systems are made from."""

    models: Models
    evaluation: EvaluationConfig
    memory: MemoryConfig
    source: Source
    cache: Path
    """Where embeddings are kept."""


def selected(
    config: EvaluationConfig, memory: MemoryConfig, source: Source
) -> tuple[dict[str, SystemConfig], list[str]]:
    """The systems that can be run on this benchmark, and a remark for each that cannot."""
    chosen: dict[str, SystemConfig] = {}
    remarks = []
    lacking = sum(not question.evidence for question in source.questions)
    if 0 < lacking < len(source.questions) and any(s.reading == "oracle" for s in config.systems.values()):
        remarks.append(
            f"oracle: no evidence was located for {lacking} of {len(source.questions)} questions, of which it knows nothing"
        )
    for name, system in config.systems.items():
        if reason := _unfit(system, memory, source):
            remarks.append(f"{name} was left out: {reason}")
        else:
            chosen[name] = system
    return chosen, remarks


def unfamiliar(
    systems: Mapping[str, SystemConfig], memory: MemoryConfig, trained: Collection[str] = TRAINED
) -> list[str]:
    """A remark on systems that show a trained checkpoint prompts which no training showed it: the figure is the
    checkpoint's, and says little about the way of reading. `trained`: the models that are one."""
    if memory.protocol == "full_context":
        return []
    readings = ("persona_only", "full_context", "bm25", "embedding", "query_aware", "query_blind")
    names = [name for name, system in systems.items() if system.reading in readings and system.model in trained]
    if not names:
        return []
    return [
        f"{', '.join(names)}: these prompts are new to checkpoints that learned to write and read memories, so the figures "
        "say what such a checkpoint makes of them, and not what a profile, a chat or a search is worth"
    ]


def _unfit(system: SystemConfig, memory: MemoryConfig, source: Source) -> str:
    if memory.protocol == "full_context" and system.reading in ("full_context", "query_aware", "query_blind"):
        return "under protocol full_context the model answers from the whole chat anyway"
    if system.reading == "persona_only" and not all(person in source.profiles for person in source.by_person):
        return "the public profiles of the benchmark's people are not at hand"
    if system.reading == "oracle" and not any(question.evidence for question in source.questions):
        return "no evidence was located for any question"
    if system.reading == "swapped_history" and len(source.by_person) < 2:
        return "there is nobody else whose history could be used"
    return ""


def named(name: str, system: SystemConfig, models: Models) -> Named:
    """How reports call a system."""
    own_caps = system.memory_tokens is None and system.chunk_tokens is None
    model = models[system.model].label if system.reading != "predictions" else ""
    label = system.label or _label(system, model)
    return Named(name, label, _role(system, own_caps), system.open)


def _role(system: SystemConfig, own_caps: bool) -> Role:
    if system.reading == "predictions":
        return "external"
    if system.reading in CONTROLS:
        return "control"
    # Whatever the settings name answers here for comparison, and is not what the graph has made.
    return "model" if system.reading == "memory" and own_caps and system.model != ENDPOINT else "baseline"


def _label(system: SystemConfig, model: str) -> str:
    if system.reading == "predictions":
        return Path(system.path).stem
    if system.reading != "memory":
        return LABELS[system.reading] + (f", {model}" if system.model != "grpo" else "")
    caps = [f"memory of {system.memory_tokens}"] if system.memory_tokens else []
    caps += [f"chunks of {system.chunk_tokens}"] if system.chunk_tokens else []
    return ", ".join([model, *caps])


def memory_config(system: SystemConfig, memory: MemoryConfig) -> MemoryConfig:
    """The preset's protocol with the system's own caps."""
    own = {"memory_tokens": system.memory_tokens, "chunk_tokens": system.chunk_tokens}
    changed: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
    if system.reading in ("full_context", "bm25", "embedding"):
        changed["protocol"] = "full_context"
    return memory.model_copy(update=changed)


def make(name: str, system: SystemConfig, needs: Needs, memories: Memories) -> System:
    """The system itself, its model loaded. `memories` are those that the model's own system left."""
    own = named(name, system, needs.models)
    if system.reading == "predictions":
        from personamem_pipeline.evaluation.predictions import Predictions

        return Predictions(own, predictions_file(system), needs.source)
    generator, config = Timed(needs.models.generator(system.model)), memory_config(system, needs.memory)
    simple: Mapping[str, Callable[..., System]] = {
        "memory": MemorySystem,
        "oracle": Oracle,
        "no_history": NoHistory,
        "persona_only": PersonaOnly,
        "full_context": FullContext,
        "query_aware": QueryAware,
        "query_blind": QueryBlind,
    }
    if system.reading in simple:
        return simple[system.reading](own, generator, config)
    if system.reading == "swapped_history":
        return SwappedHistory(own, generator, config, memories)
    if system.reading == "mem0":
        from personamem_pipeline.evaluation.systems.mem0 import mem0_product

        return mem0_product(own, generator, config, needs.evaluation.retrieval, embedder_of(needs).embedder)
    ranker = bm25_ranker() if system.reading == "bm25" else embedder_of(needs)
    return Retrieval(own, generator, config, needs.evaluation.retrieval, ranker)


def embedder_of(needs: Needs) -> EmbeddingRanker:
    """The preset's embedder, its vectors kept."""
    settings = load_settings()
    key = settings.embedding_api_key.get_secret_value() if settings.embedding_api_key else None
    endpoint = EmbeddingEndpoint(settings.embedding_base_url, key) if settings.embedding_base_url else None
    return embedding_ranker(needs.evaluation.retrieval.embedder, needs.cache, endpoint)


def predictions_file(system: SystemConfig) -> Path:
    """Where a system's file of answers is."""
    return (PROJECT / system.path).resolve()
