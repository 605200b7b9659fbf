"""Planning sessions: in which order, on which day and in which kind of conversation a person gives what away.

Drawn here rather than left to the author, so that order, dates, types and wordings are balanced whoever writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from personamem_pipeline.presets import ConversationsConfig
from personamem_pipeline.records import (
    CONVERSATION_TYPES,
    ConversationType,
    Event,
    Persona,
    Preference,
    Wording,
)
from personamem_pipeline.seeds import rng

FIRST_DAY = date(2025, 1, 6)
"""Simulated time starts here, whatever the clock says."""

FIXED_TYPES: dict[str, ConversationType] = {
    "small_talk": "knowledge_query",
    "forgets": "trouble_consult",
    "sensitive_info": "professional_writing",
}
"""Events whose texts have a form of their own; the other events share the nine types evenly."""


@dataclass(frozen=True)
class SessionPlan:
    """One session before its text exists."""

    session_id: str
    time: str
    conversation_type: ConversationType
    event: Event
    preference: Preference | None
    previous: Preference | None
    wording: Wording


def plan_sessions(persona: Persona, config: ConversationsConfig, seed: int) -> list[SessionPlan]:
    """The person's sessions in time order: each preference once, what depends on a session after it, and small talk."""
    draw = rng(seed, "session plan", persona.person_id)
    events = _ordered_events(persona, config.small_talk, draw)
    types = _types(events, draw)
    by_id = {preference.preference_id: preference for preference in persona.preferences}
    plans: list[SessionPlan] = []
    day = FIRST_DAY + timedelta(days=draw.randrange(60))
    for index, ((event, preference), conversation_type) in enumerate(zip(events, types, strict=True)):
        day += timedelta(days=draw.randrange(1, 15))
        previous = by_id[preference.replaces] if preference and preference.replaces else None
        rare = draw.random() < config.unseen_wording  # drawn for every session, so that shares do not shift other draws
        may_be_rare = (
            persona.split == "benchmark"
            and event in ("reveals", "updates")
            and preference is not None
            and preference.who == "self"
            and preference.pref_type != "sensitive_info"
        )
        plans.append(
            SessionPlan(
                session_id=f"{persona.person_id}.s{index:02d}", time=day.isoformat(),
                conversation_type=conversation_type, event=event, preference=preference, previous=previous,
                wording="unseen" if rare and may_be_rare else "seen",
            )
        )  # fmt: skip
    return plans


def _ordered_events(persona: Persona, small_talk: int, draw: Random) -> list[tuple[Event, Preference | None]]:
    events: list[tuple[Event, Preference | None]] = [("small_talk", None)] * small_talk
    chains: dict[str, list[tuple[Event, Preference | None]]] = {}
    for preference in persona.preferences:  # a replacement comes after what it replaces, so its chain exists
        chain = chains.setdefault(preference.replaces or preference.preference_id, [])
        chain.append(("updates" if preference.replaces else "reveals", preference))
    for preference in persona.preferences:
        if preference.forgotten:
            chains[preference.replaces or preference.preference_id].append(("forgets", preference))
    slots: list[str | None] = [None] * small_talk + [key for key, chain in chains.items() for _ in chain]
    draw.shuffle(slots)
    # A chain's events take its slots in order: a random order in which nothing precedes what it depends on.
    waiting = {key: iter(chain) for key, chain in chains.items()}
    talk = iter(events)
    return [next(talk) if key is None else next(waiting[key]) for key in slots]


def _types(events: Sequence[tuple[Event, Preference | None]], draw: Random) -> list[ConversationType]:
    deck: list[ConversationType] = []
    types: list[ConversationType] = []
    for event, preference in events:
        fixed = FIXED_TYPES.get(event) or (preference and FIXED_TYPES.get(preference.pref_type))
        if fixed:
            types.append(fixed)
            continue
        while not (fitting := [kind for kind in deck if _fits(kind, event, preference)]):
            deck += draw.sample(CONVERSATION_TYPES, len(CONVERSATION_TYPES))
        deck.remove(fitting[0])
        types.append(fitting[0])
    return types


def _fits(kind: ConversationType, event: Event, preference: Preference | None) -> bool:
    """Whether the event can be inferred from such a conversation.

    A bare knowledge question shows an interest of one's own. It cannot carry a change or somebody else's taste, and
    PersonaMem-v2 never uses it for therapy.
    """
    if kind != "knowledge_query":
        return True
    return (
        event == "reveals"
        and preference is not None
        and preference.who == "self"
        and preference.pref_type != "therapy_background"
    )
