"""A small population through all data rooms, once per test process: real records for tests to look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from personamem_pipeline.conversations.histories import assemble_all
from personamem_pipeline.conversations.sessions import write_sessions
from personamem_pipeline.llm.client import Endpoint
from personamem_pipeline.personas.seeds import draw_seeds
from personamem_pipeline.personas.write import write_personas
from personamem_pipeline.presets import (
    ConversationsConfig,
    HistoriesConfig,
    PersonasConfig,
    QuestionsConfig,
    SeedsConfig,
)
from personamem_pipeline.questions.certify import certify
from personamem_pipeline.questions.write import write_questions
from personamem_pipeline.records import History, Persona, Question, Session

SEEDS = SeedsConfig(training_persons=12, benchmark_persons=8)
PERSONAS = PersonasConfig(
    self_preferences=4, others_share=0.6, sensitive_share=0.6, updated_share=0.7, forgotten_share=0.7
)
CONVERSATIONS = ConversationsConfig(small_talk=2, unseen_wording=0.4)
HISTORIES = HistoriesConfig(tokens=2000)
QUESTIONS = QuestionsConfig()


def simulator() -> Endpoint:
    return Endpoint(base_url=None, model="simulator/1", api_key=None)


@dataclass(frozen=True)
class Rooms:
    """What each room made; nothing was rejected on the way."""

    personas: tuple[Persona, ...]
    sessions: tuple[Session, ...]
    histories: tuple[History, ...]
    questions: tuple[Question, ...]


@cache
def rooms(seed: int = 0) -> Rooms:
    """All stages for 20 persons with the simulator."""
    endpoint = simulator()
    personas, no_personas = write_personas(draw_seeds(SEEDS, seed).rows, PERSONAS, endpoint, seed)
    sessions, no_sessions = write_sessions(personas, CONVERSATIONS, endpoint, seed)
    histories = assemble_all(personas, sessions, HISTORIES)
    questions, no_questions = write_questions(personas, histories, endpoint, seed)
    assert len(no_personas) <= 1, no_personas
    assert not no_sessions, no_sessions
    assert not no_questions, no_questions
    certified = certify(questions, histories, QUESTIONS, [endpoint], seed)
    return Rooms(tuple(personas), tuple(sessions), tuple(histories), tuple(certified))
