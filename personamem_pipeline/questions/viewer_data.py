"""What the viewer's page knows: one block a person, one line a person for the list, and the tables of the overview."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean, median
from typing import Any

from personamem_pipeline.records import QUESTION_TYPES, History, Persona, Preference, Question, Rejection

COUNTED = ("conversation_scenario", "who", "updated", "wording", "split")
"""Columns of a question whose values the overview counts, beside the type."""


def person_block(
    history: History, questions: Sequence[Question], persona: Persona | None, rejected: Sequence[Rejection]
) -> dict[str, Any]:
    """Everything about one person, as plain JSON values."""
    return {
        "id": history.person_id,
        "name": persona.name if persona else "",
        "split": history.split,
        "seed": persona.seed_persona if persona else "",
        "author": persona.author if persona else "",
        "profile": dict(sorted(persona.profile.items())) if persona else None,
        "profile_message": history.profile,
        "tokens": history.tokens,
        "tokenizer": history.tokenizer,
        "gpt4o_tokens": history.gpt4o_tokens,
        "padding_tokens": history.padding_tokens,
        "preferences": preferences(history, questions, persona),
        "sessions": [
            {
                "id": session.session_id,
                "time": session.time,
                "type": session.conversation_type,
                "event": session.event,
                "about": session.preference_id,
                "wording": session.wording,
                "repeat": session.repeat,
                "author": session.author,
                "turns": [[turn.turn_id, turn.role, turn.content] for turn in session.messages],
                "evidence": session.evidence,
            }
            for session in history.sessions
        ],
        "questions": [question.model_dump(mode="json", exclude={"person_id", "split"}) for question in questions],
        "rejected": [row.model_dump(mode="json", exclude={"person_id"}) for row in rejected],
    }


def preferences(history: History, questions: Sequence[Question], persona: Persona | None) -> list[dict[str, Any]]:
    """The person's preferences: the persona's, else those of the sessions in time order; then any that only a question
    knows (rows read from released files have no sessions that name theirs)."""
    known: dict[str, dict[str, Any]] = {}
    revealed = [session.preference for session in history.sessions if session.preference]
    for preference in [*(persona.preferences if persona else ()), *revealed]:
        known.setdefault(preference.preference_id, _preference(preference))
    for question in questions:
        known.setdefault(
            question.preference_id,
            {
                "id": question.preference_id,
                "topic": question.topic,
                "text": question.preference,
                "type": question.pref_type,
                "who": question.who,
                "replaces": None,
                "forgotten": question.pref_type == "ask_to_forget",
            },
        )
    return list(known.values())


def _preference(preference: Preference) -> dict[str, Any]:
    return {
        "id": preference.preference_id,
        "topic": preference.topic,
        "text": preference.text,
        "type": preference.pref_type,
        "who": preference.who,
        "replaces": preference.replaces,
        "forgotten": preference.forgotten,
    }


def person_summary(history: History, questions: Sequence[Question], block: dict[str, Any]) -> dict[str, Any]:
    """What the list of persons needs to show, search and filter without reading the person's block."""
    words = [history.person_id, block["name"], *(preference["text"] for preference in block["preferences"])]
    return {
        "id": history.person_id,
        "name": block["name"],
        "split": history.split,
        "tokens": history.tokens,
        "tokenizer": history.tokenizer,
        "gpt4o_tokens": history.gpt4o_tokens,
        "padding_tokens": history.padding_tokens,
        "sessions": len(history.sessions),
        "messages": len(history.messages),
        "questions": [
            {
                "type": question.pref_type,
                "scenario": question.conversation_scenario,
                "who": question.who,
                "updated": _named(question.updated),
                "admitted": _named(question.certificate.admitted),
            }
            for question in questions
        ],
        "text": "\n".join(words),
    }


def overview(
    questions: Sequence[Question], rejected: Sequence[Rejection], persons: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The figures on top: all questions by type and slice, why rows were refused, and the shown histories' lengths."""
    by_type = {kind: [question for question in questions if question.pref_type == kind] for kind in QUESTION_TYPES}
    slices = [_slice(kind, rows) for kind, rows in by_type.items() if rows]
    return {
        "persons": len(persons),
        "all_persons": len({question.person_id for question in questions} | {person["id"] for person in persons}),
        "questions": len(questions),
        "admitted": sum(question.certificate.admitted for question in questions),
        "slices": [*slices, _slice("all", questions)] if slices else [],
        "counts": {
            column: dict(sorted(Counter(_named(getattr(question, column)) for question in questions).items()))
            for column in COUNTED
        },
        "rejected": len(rejected),
        "reasons": reasons(questions, rejected),
        "lengths": [  # of the persons shown; `write_viewer` shows at least one
            _length(name, persons) for name in ("tokens", "gpt4o_tokens", "padding_tokens", "messages", "sessions")
        ],
        "tokenizers": sorted({person["tokenizer"] for person in persons}),
    }


def reasons(questions: Sequence[Question], rejected: Sequence[Rejection]) -> dict[str, int]:
    """Rows by the code of each of their reasons; a refused question that is also listed as a rejection counts once.

    A rejection's reasons stand one a line (`questions.copying`)."""
    found = {(question.question_id, _code(reason)) for question in questions for reason in question.certificate.reasons}
    found |= {(row.row_id, _code(reason)) for row in rejected for reason in row.reason.splitlines()}
    return dict(sorted(Counter(code for _, code in found).items()))


def _named(value: str | bool) -> str:
    return value if isinstance(value, str) else "yes" if value else "no"


def _code(reason: str) -> str:
    return reason.partition(":")[0].strip()


def _slice(name: str, questions: Sequence[Question]) -> dict[str, Any]:
    """Means over the admitted questions; None where there are none."""
    certificates = [question.certificate for question in questions if question.certificate.admitted]
    means = {
        "blind": [certificate.blind_accuracy for certificate in certificates],
        "oracle": [certificate.oracle_accuracy for certificate in certificates],
        "swapped": [certificate.swapped_accuracy for certificate in certificates],
        "implicitness": [certificate.implicitness for certificate in certificates],
        "longest": [certificate.longest_guess for certificate in certificates],
        "shortest": [certificate.shortest_guess for certificate in certificates],
    }
    return {
        "name": name,
        "questions": len(questions),
        "admitted": len(certificates),
        **{measure: fmean(values) if values else None for measure, values in means.items()},
    }


def _length(name: str, persons: Sequence[dict[str, Any]]) -> dict[str, Any]:
    values = [person[name] for person in persons]
    return {
        "name": name,
        "least": min(values),
        "median": round(median(values)),
        "most": max(values),
        "sum": sum(values),
    }
