"""What the judges are told about one answer: the case as people labelled it, and the turns that bear it out.

The four options, their letters and the text of the right option have no place here: a judge that saw them would grade
likeness to one sentence, and open answers would be multiple choice again. The brief has no field for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from personamem_pipeline.evaluation.source import Person
from personamem_pipeline.records import History, Message, Question

Brief = dict[str, Any]
"""query, answer, preference, pref_type, who, updated, previous, evidence: [{role, content}]."""
Evidence = Mapping[str, Sequence[Message]]
"""Question id -> its evidence turns in time order; empty where none was located."""


def brief(question: Question, turns: Sequence[Message], answer: str) -> Brief:
    """All that a judge is told."""
    return {
        "query": question.user_query,
        "answer": answer,
        "preference": question.preference,
        "pref_type": question.pref_type,
        "who": question.who,
        "updated": question.updated,
        "previous": question.prev_pref,
        "evidence": [{"role": turn.role, "content": turn.content} for turn in turns],
    }


def evidence_turns(people: Iterable[Person]) -> dict[str, tuple[Message, ...]]:
    """The evidence of everybody's questions; people pass by one at a time, and only these turns are kept."""
    found: dict[str, tuple[Message, ...]] = {}
    for person in people:
        found |= evidence_of(person.history, person.questions)
    return found


def evidence_of(history: History, questions: Iterable[Question]) -> dict[str, tuple[Message, ...]]:
    """The evidence of one person's questions, in the order of the history."""
    messages = history.messages
    found = {}
    for question in questions:
        wanted = set(question.evidence)
        found[question.question_id] = tuple(message for message in messages if message.turn_id in wanted)
    return found
