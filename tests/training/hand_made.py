"""Scored rollouts by hand: what a step could have left, without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from personamem_pipeline.memory.episode import MemoryTurn
from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.records import Message
from personamem_pipeline.training.grpo.curriculum import Item
from personamem_pipeline.training.grpo.rollouts import Rollout
from personamem_pipeline.training.grpo.scored import ScoredRollout
from personamem_pipeline.training.labels import ChunkLabels
from personamem_pipeline.training.rewards.records import AnswerReward, TurnReward
from tests.training.conftest import question

OPTIONS = {"a": "You could try wine.", "b": "You could try green tea."}
HOSTILE = "</script><img src=x onerror=alert(1)><!-- \u2028 & \"quoted\" 'it'"


def reply(text: str, *, sampled: int = 3, read: int = 10, finished: bool = True) -> Generation:
    return Generation(tuple(range(read)), tuple(range(sampled)), text, finished)


def write(
    index: int, memory: str, *, kept: str = "", said: Generation | None = None, prompt: str = "the memory so far"
) -> MemoryTurn:
    """A write turn that left `memory`; what was said is the memory unless it is given."""
    chunk = (Message(turn_id=f"m{index}", role="user", content="I left my bamboo whisk."),)
    return MemoryTurn(index, chunk, prompt, said or reply(memory), memory, kept)


def item(number: int = 0, *, kind: str = "choice", pref_type: str = "neutral_preferences", query: str = "") -> Item:
    base = question(number).model_copy(update={"pref_type": pref_type, **({"user_query": query} if query else {})})
    return Item(base, dict(OPTIONS), "b") if kind == "choice" else Item(base, None, None)


def answer(total: float | None, **parts: float) -> AnswerReward:
    return AnswerReward(parts, total)


def labels(*live: str) -> ChunkLabels:
    return ChunkLabels(tuple(live), frozenset(live), ())


def scored(
    answers: Sequence[AnswerReward],
    *,
    turns: Sequence[MemoryTurn] = (),
    labelled: Sequence[ChunkLabels] | None = None,
    items: Sequence[Item] | None = None,
    replies: Sequence[Generation] | None = None,
    advantages: Sequence[float] | None = None,
    turn_parts: Mapping[str, float] | None = None,
) -> ScoredRollout:
    """A rollout with these answers; everything that a test does not care about is filled in."""
    asked = tuple(items or [item()] * len(answers))
    said = tuple(replies or [reply("(b)")] * len(answers))
    return ScoredRollout(
        rollout=Rollout(tuple(turns), asked, said),
        labels=tuple(labelled or [labels()] * len(turns)),
        answers=tuple(answers),
        advantages=tuple(advantages or [0.0] * len(answers)),
        turns=tuple(TurnReward(turn_parts or {}, 0.25) for _ in turns),
        turn_advantages=tuple(0.5 for _ in turns),
    )
