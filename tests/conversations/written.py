"""Persons and their sessions, written by the simulator once per test process."""

from __future__ import annotations

from functools import cache

from personamem_pipeline.conversations.sessions import write_sessions
from personamem_pipeline.personas.seeds import draw_seeds
from personamem_pipeline.personas.write import write_personas
from personamem_pipeline.records import Persona, Session
from tests.rooms import CONVERSATIONS, PERSONAS, SEEDS, simulator


@cache
def written() -> tuple[tuple[Persona, ...], tuple[Session, ...]]:
    """The same as in `tests.rooms`, without the stages that follow."""
    personas, _ = write_personas(draw_seeds(SEEDS, 0).rows, PERSONAS, simulator(), 0)
    sessions, rejections = write_sessions(personas, CONVERSATIONS, simulator(), 0)
    assert not rejections, rejections
    return tuple(personas), tuple(sessions)
