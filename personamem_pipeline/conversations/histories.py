"""Histories: a person's sessions in time order, within a token budget, padded to a length where one is asked for.

Only filler gives way to the budget. A session with evidence is never dropped or cut: a question whose evidence is gone
would measure nothing (PersonaMem-v2 protects such blocks in the same way). Padding stands between sessions, never in one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from personamem_pipeline.conversations.counting import Measure, Size, load_measure, total
from personamem_pipeline.conversations.padding import Dialogue, Padding, load_pool
from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import HistoriesConfig
from personamem_pipeline.records import History, Message, Persona, Session
from personamem_pipeline.seeds import stable_int

_AROUND = timedelta(days=1)
"""How long before the first session and after the last one padding may lie."""


def assemble(persona: Persona, sessions: Sequence[Session], config: HistoriesConfig) -> History:
    """One person's history from their sessions among `sessions`; see `assemble_all`."""
    return assemble_all([persona], [s for s in sessions if s.person_id == persona.person_id], config)[0]


def assemble_all(personas: Sequence[Persona], sessions: Sequence[Session], config: HistoriesConfig) -> list[History]:
    """The histories of `personas`, in their order; `sessions` are theirs, in any order. Every message is counted once.

    A history holds all sessions with evidence, and as many others as fit into `config.tokens`. Which of the others stay
    follows a stable hash of their ids, so neither the start nor the end of a history is favoured. `tokens` can be over
    the budget when the evidence alone is. UserError for sessions of nobody or in an impossible order.
    """
    own: dict[str, list[Session]] = {persona.person_id: [] for persona in personas}
    for session in sessions:
        if session.person_id not in own:
            raise UserError(
                "the session's person is not among the persons",
                where=session.session_id,
                expected="persons and sessions of the same shard",
                remedy="make the conversations again from these persons",
            )
        own[session.person_id].append(session)
    measure = load_measure(config.tokenizer)
    sizes = _session_sizes(sessions, measure)
    profiles = [_profile(persona) if config.profile_message else "" for persona in personas]
    padding = Padding(load_pool(config.padding), measure) if config.pad_to else None
    histories = []
    for persona, profile, opening in zip(personas, profiles, measure(profiles), strict=True):
        ordered = sorted(own[persona.person_id], key=lambda session: session.time)
        _check_order(ordered)
        kept, size = _within_budget(ordered, sizes, config.tokens, opening)
        added = padding.fill(persona.person_id, persona.split, (config.pad_to or 0) - size.tokens) if padding else []
        extra = total(dialogue.size for dialogue in added)
        histories.append(
            History(
                person_id=persona.person_id, split=persona.split,
                sessions=tuple(_pad(persona.person_id, kept, added, padding.author) if padding else kept),
                tokens=size.tokens + extra.tokens, tokenizer=config.tokenizer, gpt4o_tokens=size.gpt4o + extra.gpt4o,
                padding_tokens=extra.tokens, profile=profile,
            )
        )  # fmt: skip
    return histories


def _session_sizes(sessions: Sequence[Session], measure: Measure) -> dict[str, Size]:
    each = iter(measure([message.content for session in sessions for message in session.messages]))
    return {session.session_id: total(next(each) for _ in session.messages) for session in sessions}


def _within_budget(
    ordered: Sequence[Session], sizes: Mapping[str, Size], budget: int, opening: Size
) -> tuple[list[Session], Size]:
    kept = {session.session_id for session in ordered if session.evidence}
    tokens = opening.tokens + sum(sizes[session_id].tokens for session_id in kept)
    filler = [session.session_id for session in ordered if not session.evidence]
    for session_id in sorted(filler, key=lambda session_id: stable_int("filler", session_id)):
        if tokens + sizes[session_id].tokens <= budget:
            kept.add(session_id)
            tokens += sizes[session_id].tokens
    chosen = [session for session in ordered if session.session_id in kept]
    return chosen, total([opening, *(sizes[session.session_id] for session in chosen)])


def _check_order(ordered: Sequence[Session]) -> None:
    """Each session at a time of its own, an update after what it replaces, a request to forget after what it is about."""
    over: dict[str, Session] = {}  # preference -> the session after which it may be revealed no more
    at: set[str] = set()
    for session in ordered:
        if session.time in at:
            raise _disorder(session, f"another session of the person is at {session.time} too")
        at.add(session.time)
        about = session.preference
        if about is None:
            continue
        if session.event in ("reveals", "updates") and (later := over.get(about.preference_id)):
            raise _disorder(session, f"it gives away what {later.session_id} ({later.event}) came to before it")
        if session.event == "updates" and about.replaces:
            over[about.replaces] = session
        elif session.event == "forgets":
            over[about.preference_id] = session


def _disorder(session: Session, problem: str) -> UserError:
    return UserError(
        problem,
        where=session.session_id,
        expected="sessions at different times, each preference given away before it changes or is to be forgotten",
        remedy="make the conversations again; if they were edited by hand, correct their times",
    )


def _profile(persona: Persona) -> str:
    """The public profile as text; preferences never are a part of it."""
    lines = [f"{key.replace('_', ' ')}: {value}" for key, value in persona.profile.items()]
    return "\n".join(["Profile of the user", f"name: {persona.name}", *lines])


def _pad(person_id: str, kept: Sequence[Session], added: Sequence[Dialogue], author: str) -> list[Session]:
    """The sessions with the dialogues spread evenly over their borders, the two ends included."""
    borders: list[list[tuple[int, Dialogue]]] = [[] for _ in range(len(kept) + 1)]
    for number, dialogue in enumerate(added):
        borders[(2 * number + 1) * len(borders) // (2 * len(added))].append((number, dialogue))
    times = [datetime.fromisoformat(session.time) for session in kept] or [datetime(2025, 1, 6)]
    starts, ends = [times[0] - _AROUND, *times], [*times, times[-1] + _AROUND]
    padded: list[Session] = []
    for place, (border, start, end) in enumerate(zip(borders, starts, ends[: len(borders)], strict=False)):
        step = (end - start) / (len(border) + 1)
        if border and step < timedelta(minutes=1):
            raise UserError(
                f"{len(border)} padding dialogues do not fit between {start} and {end}",
                where=person_id,
                expected="at most one dialogue a minute",
                remedy="lower data.histories.pad_to, or plan more sessions",
            )
        for nth, (number, dialogue) in enumerate(border, start=1):
            padded.append(_padding_session(person_id, number, start + nth * step, dialogue, author))
        padded += kept[place : place + 1]
    return padded


def _padding_session(person_id: str, number: int, time: datetime, dialogue: Dialogue, author: str) -> Session:
    session_id = f"{person_id}.p{number:04d}"
    return Session(
        session_id=session_id, person_id=person_id, time=time.isoformat(timespec="minutes"),
        conversation_type="knowledge_query", event="padding", preference=None, wording="seen",
        messages=tuple(
            Message(turn_id=f"{session_id}.m{index}", role=role, content=content)
            for index, (role, content) in enumerate(dialogue.turns)
        ),
        evidence=(), author=author,
    )  # fmt: skip
