"""What decides a system's replies: the key by which its journal is found.

Everything that changes a reply must be in here, or an evaluation finds answers to another question; nothing else should be,
or it asks again for nothing.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from personamem_pipeline.evaluation.systems import query_aware
from personamem_pipeline.evaluation.systems.build import Needs, embedder_of, memory_config, predictions_file
from personamem_pipeline.memory.prompts import prompt_texts
from personamem_pipeline.presets import SystemConfig
from personamem_pipeline.seeds import digest
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.store import sha256_file

CODE = (
    "memory",
    "evaluation/systems",
    "evaluation/asked.py",
    "evaluation/source.py",
    "evaluation/endpoint_generator.py",
    "evaluation/leak.py",
    "questions/options.py",
)
"""What of our code decides replies; parsing and scoring are no part of it."""
ENGINES = {"torch": "torch", "transformers": "transformers", "vllm": "vllm", "bm25s": "bm25s", "mem0": "mem0ai"}
"""Module -> package."""


def key(system: SystemConfig, needs: Needs, benchmark: str, memories: str | None = None) -> dict[str, Any]:
    """All that decides a system's replies. `memories`: the journal that a system reads instead of writing."""
    config, source = needs.evaluation, needs.source
    asked = {"benchmark": benchmark, "orders": source.orders, "seed": source.seed, "batch": source.people_per_batch}
    if system.reading == "predictions":
        return {"code": replying_code(), **asked, "open": system.open, "file": sha256_file(predictions_file(system))}
    memory = memory_config(system, needs.memory)
    prompts = prompt_texts(memory.prompts)
    more: dict[str, Any] = {}
    if system.reading in ("bm25", "embedding", "mem0"):
        more["retrieval"] = config.retrieval.model_dump(mode="json")
    if system.reading in ("embedding", "mem0"):
        more["embedder"] = embedder_of(needs).embedder.name
    if system.reading in ("query_aware", "query_blind"):
        prompts += query_aware.prompt_texts(memory.prompts)
    if memories:
        more["memories"] = memories
    return {
        "code": replying_code(),
        **asked,
        "reading": system.reading,
        "open": system.open,
        "model": needs.models[system.model].identity,
        "memory": memory.model_dump(mode="json"),
        "prompts": prompts,
        "decoding": [config.engine, config.temperature, config.seed, config.batch_size],
        **more,
    }


@cache
def replying_code() -> str:
    """A digest of the code that asks and reads, and of the engines' versions: an edit is another journal."""
    room = PROJECT / "personamem_pipeline"
    files = sorted(file for name in CODE for file in ([room / name] if "." in name else (room / name).rglob("*.py")))
    engines = {package: version(package) for module, package in ENGINES.items() if find_spec(module)}
    return digest([[[file.relative_to(room).as_posix(), sha256_file(file)] for file in files], engines])
