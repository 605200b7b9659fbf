"""A released history as sessions: each located snippet is one, and so is what stands between two of them.

The released files have neither sessions nor times. The cuts are where the snippets are, the times are places in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from personamem_pipeline.questions.released_checks import question_type, scenario
from personamem_pipeline.questions.released_people import Person
from personamem_pipeline.questions.released_preferences import PersonPreferences
from personamem_pipeline.questions.released_rows import ReleasedRow
from personamem_pipeline.records import ConversationType, Event, Preference, Session

AUTHOR = "released PersonaMem-v2"
SMALL_TALK: ConversationType = "knowledge_query"
"""What a session between two snippets is called: its type is not released, and a question and an answer fits most."""
_WEIGHTY: tuple[Event, ...] = ("forgets", "updates", "reveals")
"""What a session is about when several snippets overlap in it."""
_FIRST = datetime(1970, 1, 1)


def sessions_of(person: Person) -> list[Session]:
    """The history cut at the borders of the located snippets; overlapping snippets are one session."""
    preferences = PersonPreferences(person).of
    rows = dict(person.rows)
    blocks: list[tuple[int, int, list[str]]] = []
    found = [
        (start, end, question_id)
        for question_id, located in person.located.items()
        if question_id in preferences and scenario(rows[question_id])
        for start, end in _runs(located.places)
    ]
    for start, end, question_id in sorted(found):
        if blocks and start < blocks[-1][1]:
            first, last, together = blocks[-1]
            blocks[-1] = (first, max(last, end), [*together, question_id])
        else:
            blocks.append((start, end, [question_id]))
    sessions: list[Session] = []
    done = 0
    for start, end, together in [*blocks, (len(person.messages), len(person.messages), [])]:
        if done < start:
            sessions.append(_session(person, len(sessions), done, start, None, None))
        if together:
            about = min(together, key=lambda name: (_WEIGHTY.index(_event(rows[name])), name))
            sessions.append(_session(person, len(sessions), start, end, rows[about], preferences[about], together))
        done = end
    return sessions


def _runs(places: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending places as [start, end) runs."""
    runs: list[tuple[int, int]] = []
    for place in places:
        if runs and runs[-1][1] == place:
            runs[-1] = (runs[-1][0], place + 1)
        else:
            runs.append((place, place + 1))
    return runs


def _session(
    person: Person, number: int, start: int, end: int, row: ReleasedRow | None, preference: Preference | None,
    questions: Sequence[str] = (),
) -> Session:  # fmt: skip
    messages = person.messages[start:end]
    known = {place for question_id in questions for place in person.located[question_id].places}
    kind = scenario(row) if row else None
    return Session(
        session_id=f"{person.person_id}.s{number:04d}", person_id=person.person_id,
        time=(_FIRST + timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M"),
        conversation_type=kind or SMALL_TALK, event=_event(row) if row else "small_talk", preference=preference,
        wording="seen", messages=messages,
        evidence=tuple(person.messages[place].turn_id for place in range(start, end) if place in known), author=AUTHOR,
    )  # fmt: skip


def _event(row: ReleasedRow) -> Event:
    if question_type(row) == "ask_to_forget":
        return "forgets"
    return "updates" if row.updated and row.prev_pref else "reveals"
