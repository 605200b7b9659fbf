"""The questions that a reader can look into one by one: evidence, every system's answers, and the memories behind them.

Histories pass by once, and of each only what is shown is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from personamem_pipeline.evaluation.asked import evidence_distances
from personamem_pipeline.evaluation.records import Answer, OpenAnswer
from personamem_pipeline.evaluation.scoring.runs import SystemRun, at_the_end
from personamem_pipeline.evaluation.scoring.summary import Texts
from personamem_pipeline.evaluation.source import Person, Source
from personamem_pipeline.records import Question
from personamem_pipeline.seeds import stable_int

WITH_MEMORIES = 40
"""People whose memories are kept after each chunk, with the chunks: a whole chat each, so no more than a page can hold."""


def select_shown(systems: Mapping[str, SystemRun], count: int) -> list[str]:
    """Up to `count` question ids: those first on which the models differ in how many orders they got right, then the rest;
    within each by a stable hash, so that no author picks and the same answers show the same."""
    outcomes: dict[str, dict[str, int]] = {}
    for name, run in systems.items():
        for answer in at_the_end(run.answers):
            own = outcomes.setdefault(answer.question_id, {})
            if run.role == "model":
                own[name] = own.get(name, 0) + answer.correct
    agreed = {question: len(set(own.values())) < 2 for question, own in outcomes.items()}
    return sorted(agreed, key=lambda name: (agreed[name], stable_int("shown", name), name))[:count]


def shown(source: Source, systems: Mapping[str, SystemRun], texts: Texts, count: int) -> dict[str, Any]:
    """The parts `shown` and `memories` of results.

    `shown`: a row per question with its evidence and, by system, the option picked in each order (None: none could be
    read), whether it was right, the reply to the first order, and the judged open answer (None: not asked). `memories`: of
    the first `WITH_MEMORIES` people of shown questions, what each model's memory was after each chunk.
    """
    chosen = select_shown(systems, count)
    place = {question: index for index, question in enumerate(chosen)}
    people = list(dict.fromkeys(_person_of(source)[question] for question in chosen))
    wanted, with_memories = set(people), set(people[:WITH_MEMORIES])
    answered = {name: _by_question(at_the_end(run.answers), place) for name, run in systems.items()}
    opened = {name: {row.question_id: row for row in run.open} for name, run in systems.items()}
    rows: dict[str, dict[str, Any]] = {}
    memories: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for person in source.people() if wanted else ():
        if person.person_id not in wanted:
            continue
        distances = evidence_distances(person)
        for question in person.questions:
            if question.question_id in place:
                own = {
                    name: _answers(answered[name][question.question_id], opened[name].get(question.question_id), texts)
                    for name in systems
                }
                rows[question.question_id] = {**_question(person, question, distances), "answers": own}
        if person.person_id in with_memories:
            memories[person.person_id] = _memories(person, systems)
    return {"shown": [rows[question] for question in chosen], "memories": dict(sorted(memories.items()))}


def _person_of(source: Source) -> dict[str, str]:
    return {question.question_id: question.person_id for question in source.questions}


def _by_question(answers: Sequence[Answer], place: Mapping[str, int]) -> dict[str, list[Answer]]:
    found: dict[str, list[Answer]] = {}
    for answer in answers:
        if answer.question_id in place:
            found.setdefault(answer.question_id, []).append(answer)
    return found


def _question(person: Person, question: Question, distances: Mapping[str, int]) -> dict[str, Any]:
    wanted = set(question.evidence)
    return {
        "question_id": question.question_id,
        "person_id": question.person_id,
        "type": question.pref_type,
        "who": question.who,
        "topic": question.topic,
        "query": question.user_query,
        "right": question.correct_answer,
        "wrong": list(question.incorrect_answers),
        "preference": question.preference,
        "before": question.prev_pref,
        "distance": distances[question.question_id],
        "evidence": [
            {"turn": message.turn_id, "role": message.role, "content": message.content}
            for message in person.history.messages
            if message.turn_id in wanted
        ],
    }


def _answers(answers: Sequence[Answer], opened: OpenAnswer | None, texts: Texts) -> dict[str, Any]:
    return {
        "picked": [texts[a.question_id, a.order][a.picked] if a.picked is not None else None for a in answers],
        "correct": [answer.correct for answer in answers],
        "output": answers[0].output,
        "open_answer": opened.answer if opened else None,
        "judgements": [row.model_dump(mode="json") for row in opened.judgements] if opened else [],
    }


def _memories(person: Person, systems: Mapping[str, SystemRun]) -> dict[str, list[dict[str, Any]]]:
    lines = {message.turn_id: f"{message.role}: {message.content}" for message in person.history.messages}
    found = {}
    for name, run in systems.items():
        own = sorted((step for step in run.steps if step.subject == person.person_id), key=lambda step: step.index)
        if run.role == "model" and own:
            found[name] = [
                {
                    "index": step.index,
                    "chunk": [lines[turn] for turn in step.turns],
                    "memory": step.memory,
                    "kept": step.kept,
                }
                for step in own
            ]
    return found
