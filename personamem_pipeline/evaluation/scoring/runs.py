"""What scoring gets of one system: its labelled answers, the memories it wrote, and what reports call it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from personamem_pipeline.evaluation.records import Answer, MemoryStep, OpenAnswer, Role

UNREAD = 0.2
"""From this share of unparseable answers on, a score says little of what a system knows, and a report says so."""
TRAINED = ("sft", "grpo")
"""Models that learned to write and read memories by our prompts."""
MAIN = "grpo"
"""The system that a report is about, where it was run."""


@dataclass(frozen=True)
class SystemRun:
    """One system under test with all that it left."""

    name: str
    label: str
    role: Role
    reading: str
    """How it came to know the person, as the preset says (`memory`, `full_context`, ...); of a guesser, its rule."""
    model: str
    """Which model answered (`base`, `sft`, `grpo`, `endpoint`); empty where none did."""
    answers: Sequence[Answer]
    """Of every question in every option order, and those before a request to forget."""
    open: Sequence[OpenAnswer] = ()
    steps: Sequence[MemoryStep] = ()
    memory_cap: int | None = None
    """Tokens that a memory may have; None where none is written."""
    chunk_tokens: int | None = None
    """Tokens of a chunk, likewise."""


def main_system(systems: Mapping[str, SystemRun]) -> str | None:
    """The system that a report is about: `grpo`, or else the first model; None where no model was run."""
    models = [name for name, run in systems.items() if run.role == "model"]
    return MAIN if MAIN in systems else next(iter(models), None)


def at_the_end(answers: Iterable[Answer]) -> list[Answer]:
    """Those after the whole history, which the headline counts."""
    return [answer for answer in answers if answer.moment == "end"]
