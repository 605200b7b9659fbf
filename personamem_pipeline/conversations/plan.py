"""Planning sessions: in which order, when and in which kind of conversation a person gives what away.

Drawn here rather than left to the author, so that order, times, types and wordings are balanced whoever writes. Every
part has a generator of its own: asking for repeats, longer talks or long drafts shifts nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
"""Events whose short texts have a form of their own; the other events share the nine types evenly."""

SENSITIVE_TYPES: tuple[ConversationType, ...] = (
    "professional_writing",
    "personal_email",
    "professional_email",
    "chat_message",
    "translation",
    "trouble_consult",
)
"""Where a private value may slip into a long text: what one has filled in, sent or put into another language."""

ASPECTS = ("cleaning", "storing", "lifetime", "repair", "buying", "mistakes")
"""Sides of one matter that a knowledge query which comes back asks about, each once."""


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
    repeat: int = 0
    """Which asking this is of a knowledge query that comes back."""
    aspect: str = ""
    """One of `ASPECTS` for a knowledge query that may come back; otherwise the author is free."""
    exchanges: int = 1
    """Turns of the user at least."""


@dataclass(frozen=True)
class _Step:
    """What happens in one session, before it has a time."""

    event: Event
    preference: Preference | None
    conversation_type: ConversationType
    repeat: int = 0
    aspect: str = ""


def plan_sessions(persona: Persona, config: ConversationsConfig, seed: int) -> list[SessionPlan]:
    """The person's sessions in time order, each on a day of its own.

    Each preference once (a knowledge query up to `knowledge_repeats` times), what depends on a session after it, and
    small talk.
    """
    draw = rng(seed, "session plan", persona.person_id)
    events = _ordered_events(persona, config.small_talk, draw)
    types = _types(events, draw)
    if config.length == "long":
        types = _long_types(persona, events, types, seed)
    steps = [_Step(event, about, kind) for (event, about), kind in zip(events, types, strict=True)]
    if config.knowledge_repeats > 1:
        steps = _with_repeats(steps, config.knowledge_repeats, seed)
    by_id = {preference.preference_id: preference for preference in persona.preferences}
    plans: list[SessionPlan] = []
    day = FIRST_DAY + timedelta(days=draw.randrange(60))
    for index, step in enumerate(steps):
        session_id = f"{persona.person_id}.s{index:02d}"
        day += timedelta(days=draw.randrange(1, 15))
        minutes = rng(seed, "time of day", session_id).randrange(7 * 60, 23 * 60)
        about = step.preference
        rare = draw.random() < config.unseen_wording  # drawn for every session, so that shares do not shift other draws
        may_be_rare = (
            persona.split == "benchmark"
            and step.event in ("reveals", "updates")
            and about is not None
            and about.who == "self"
            and about.pref_type != "sensitive_info"
        )
        plans.append(
            SessionPlan(
                session_id=session_id, time=f"{day.isoformat()}T{minutes // 60:02d}:{minutes % 60:02d}",
                conversation_type=step.conversation_type, event=step.event, preference=about,
                previous=by_id[about.replaces] if about and about.replaces else None,
                wording="unseen" if rare and may_be_rare else "seen",
                repeat=step.repeat, aspect=step.aspect,
                exchanges=_exchanges(session_id, step.event, config.extended_share, seed),
            )
        )  # fmt: skip
    return plans


def _ordered_events(persona: Persona, small_talk: int, draw: Random) -> list[tuple[Event, Preference | None]]:
    events: list[tuple[Event, Preference | None]] = [("small_talk", None)] * small_talk
    chains: dict[str, list[tuple[Event, Preference | None]]] = {}
    first: dict[str, str] = {}  # preference -> the first state of what it is a state of
    for preference in persona.preferences:  # a replacement comes after what it replaces, so its chain exists
        key = preference.preference_id
        first[key] = first[preference.replaces] if preference.replaces else key
        chains.setdefault(first[key], []).append(("updates" if preference.replaces else "reveals", preference))
    for preference in persona.preferences:
        if preference.forgotten:
            chains[first[preference.preference_id]].append(("forgets", preference))
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


def _long_types(
    persona: Persona,
    events: Sequence[tuple[Event, Preference | None]],
    types: Sequence[ConversationType],
    seed: int,
) -> list[ConversationType]:
    """In long texts small talk and planted values come in several types too, or the type alone would tell them apart."""
    draw = rng(seed, "types of long texts", persona.person_id)
    deck: list[ConversationType] = []
    spread = list(types)
    for index, (event, preference) in enumerate(events):
        if event == "small_talk":
            deck = deck or draw.sample(CONVERSATION_TYPES, len(CONVERSATION_TYPES))
            spread[index] = deck.pop()
        elif preference and preference.pref_type == "sensitive_info" and event == "reveals":
            spread[index] = draw.choice(SENSITIVE_TYPES)
    return spread


def _with_repeats(steps: Sequence[_Step], most: int, seed: int) -> list[_Step]:
    """Knowledge queries come back 1 to `most` times in all, before their preference changes or is to be forgotten."""
    steps = list(steps)
    asked = [
        step.preference for step in steps if step.event == "reveals" and step.conversation_type == "knowledge_query"
    ]
    for preference in asked:
        assert preference is not None, "a reveal is about a preference"
        key = preference.preference_id
        draw = rng(seed, "knowledge repeats", key)
        aspects = draw.sample(ASPECTS, draw.randint(1, most))
        first = next(i for i, step in enumerate(steps) if step.event == "reveals" and step.preference == preference)
        ends = (
            index
            for index, step in enumerate(steps)
            if step.preference
            and (step.preference.replaces == key or (step.event == "forgets" and step.preference.preference_id == key))
        )
        end = next(ends, len(steps))
        steps[first] = replace(steps[first], aspect=aspects[0])
        places = sorted(draw.randint(first + 1, end) for _ in aspects[1:])
        for repeat, (place, aspect) in enumerate(zip(places, aspects[1:], strict=True), start=1):
            # Each one before it has moved the later places on by one.
            steps.insert(place + repeat - 1, _Step("reveals", preference, "knowledge_query", repeat, aspect))
    return steps


def _exchanges(session_id: str, event: Event, share: float, seed: int) -> int:
    """1, or for `share` of the sessions 2 or 3. A request to forget is the second exchange of its session anyway."""
    draw = rng(seed, "exchanges", session_id)
    if event == "forgets":
        return 2
    return 1 + draw.randint(1, 2) if draw.random() < share else 1
