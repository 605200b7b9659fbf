"""Duplicates and contradictions among one person's preferences: first by comparing words, then by a reader.

A question about a preference that another one repeats or denies has no right answer. Of two such preferences the later
one goes, with what replaces it; it is kept as a rejection. A review that cannot be trusted rejects the person.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

from pydantic import BaseModel

from personamem_pipeline.llm.client import Prompt
from personamem_pipeline.personas.texts import similarity, words
from personamem_pipeline.records import Persona, Preference, Rejection

SAME_TEXT = 0.8
"""Jaccard similarity of the words from which two preferences count as the same."""

INSTRUCTIONS = """You check the preferences of one fictional person in a test of long-term memory in chatbots.
The brief lists them: `id`, `text`, `who` (self: the person's own; others: somebody's near the person) and `replaces`:
the id of the earlier preference that this one has taken the place of, if any. Reply with a JSON object whose `problems`
name each pair that cannot stand side by side: `first` and `second` (ids of the brief), `kind` and, in a few words, `why`.
duplicate: both say the same in other words. conflict: nobody could hold both at the same time. A preference may
contradict the one it replaces, and other people's may contradict the person's own: neither is a problem. Mere tension
is none either. `problems` is empty when there are none."""


class Problem(BaseModel):
    """Two preferences that cannot stand side by side, by their ids."""

    first: str
    second: str
    kind: Literal["duplicate", "conflict"]
    why: str


class ReviewReply(BaseModel):
    """What the endpoint answers to the task `review`."""

    problems: list[Problem]


def repeated(preferences: Sequence[Preference]) -> list[Problem]:
    """Pairs of (nearly) the same words, leaving aside a preference and what replaces it, and private values."""
    found = []
    for first, second in combinations(_reviewed(preferences), 2):
        same = words(first.text) == words(second.text) or similarity(first.text, second.text) >= SAME_TEXT
        if same and not _succeeds(first, second):
            why = f"{second.text!r} has the words of {first.text!r}"
            found.append(Problem(first=first.preference_id, second=second.preference_id, kind="duplicate", why=why))
    return found


def review_prompt(persona: Persona, seed: int) -> Prompt[ReviewReply]:
    """The one question to the reader about a person. Private values are not shown."""
    brief = {
        "preferences": [
            {"id": item.preference_id, "text": item.text, "who": item.who, "replaces": item.replaces or ""}
            for item in _reviewed(persona.preferences)
        ]
    }
    return Prompt("review", INSTRUCTIONS, brief, ReviewReply, persona.person_id, seed)


def distrust(reply: ReviewReply, preferences: Sequence[Preference]) -> str:
    """Why a review cannot be used; empty when every problem names two different preferences of the brief."""
    known = {item.preference_id for item in _reviewed(preferences)}
    for problem in reply.problems:
        if strange := {problem.first, problem.second} - known:
            return f"it names unknown preferences: {', '.join(sorted(strange))}"
        if problem.first == problem.second:
            return f"it sets {problem.first} against itself"
    return ""


def without(persona: Persona, problems: Sequence[Problem]) -> tuple[Persona, list[Rejection]]:
    """The person without the later one of each pair and what replaces it; the others keep their ids."""
    order = {item.preference_id: index for index, item in enumerate(persona.preferences)}
    by_id = {item.preference_id: item for item in persona.preferences}
    reasons: dict[str, str] = {}
    for problem in sorted(problems, key=lambda pair: sorted((order[pair.first], order[pair.second]), reverse=True)):
        earlier, later = sorted((problem.first, problem.second), key=order.__getitem__)
        if {earlier, later} & set(reasons) or _succeeds(by_id[earlier], by_id[later]):
            continue  # one of them is gone already, or the contradiction is what was asked for
        reasons[later] = f"{problem.kind}: with {earlier}: {problem.why}"
        for item in persona.preferences[order[later] + 1 :]:
            if item.replaces in reasons:
                reasons[item.preference_id] = f"{problem.kind}: it replaces {item.replaces}, which was removed"
    kept = tuple(item for item in persona.preferences if item.preference_id not in reasons)
    rejections = [
        Rejection(row_id=key, person_id=persona.person_id, reason=reasons[key], content=by_id[key].model_dump_json())
        for key in sorted(reasons, key=order.__getitem__)
    ]
    return persona.model_copy(update={"preferences": kept}), rejections


def _reviewed(preferences: Sequence[Preference]) -> list[Preference]:
    return [item for item in preferences if item.pref_type != "sensitive_info"]


def _succeeds(first: Preference, second: Preference) -> bool:
    return second.replaces == first.preference_id or first.replaces == second.preference_id
