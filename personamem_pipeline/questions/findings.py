"""What a gathered dataset promises of its rows: they are all there, the splits share nobody, the evidence is in place.

A finding is a promise and the figures that say whether it holds. Lists among the figures are offenders. The findings
about figures stand with their figures: `slices`, `near_duplicates`, `balance`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from personamem_pipeline.questions.facts import HistoryFacts, QuestionFacts, text_digest
from personamem_pipeline.records import Persona, Split


class Finding(BaseModel):
    """One promise: whether it holds, and the figures that say so."""

    model_config = ConfigDict(frozen=True)
    name: str
    passed: bool
    facts: dict[str, Any]


def completeness(shards: Sequence[str], kinds: Mapping[str, Mapping[str, str]]) -> Finding:
    """Every shard is there, of every kind (kind -> shard -> version), and none that was not asked for."""
    facts: dict[str, Any] = {"shards": len(shards)}
    for name, found in kinds.items():
        facts[f"{name}_missing"] = sorted(set(shards) - set(found))
        facts[f"{name}_unknown"] = sorted(set(found) - set(shards))
    return Finding(name="completeness", passed=not any(facts[key] for key in facts if key != "shards"), facts=facts)


class Splits:
    """Sees persons and revealing turns of both splits pass by, and finds who or what is in both."""

    def __init__(self) -> None:
        self._persons: dict[Split, set[str]] = {"training": set(), "benchmark": set()}
        self._sentences: dict[Split, set[str]] = {"training": set(), "benchmark": set()}
        self._tastes: dict[Split, dict[bytes, str]] = {"training": {}, "benchmark": {}}
        self._reveals: dict[Split, dict[bytes, str]] = {"training": {}, "benchmark": {}}

    def add_person(self, person: Persona) -> None:
        """See what is true of a person."""
        self._persons[person.split].add(person.person_id)
        self._sentences[person.split].add(person.seed_persona)
        texts = sorted(preference.text.casefold() for preference in person.preferences)
        if texts:
            self._tastes[person.split][text_digest("\0".join(texts))] = person.person_id

    def add_question(self, question: QuestionFacts) -> None:
        """See a question's person."""
        self._persons[question.split].add(question.person_id)

    def add_history(self, history: HistoryFacts) -> None:
        """See a history's person and the turns that reveal something."""
        self._persons[history.split].add(history.person_id)
        seen = self._reveals[history.split]
        for turn in history.revealing:
            digest = text_digest(turn.text)
            seen[digest] = min(seen.get(digest, turn.name), turn.name)

    def finding(self) -> Finding:
        """Nobody is in both splits, nobody has all the preferences of somebody in the other one, and no turn that reveals
        something is in both, to the letter."""
        training, benchmark = self._reveals["training"], self._reveals["benchmark"]
        shared = sorted(self._persons["training"] & self._persons["benchmark"])
        turns = sorted(f"{training[key]} = {benchmark[key]}" for key in training.keys() & benchmark.keys())
        ours, theirs = self._tastes["training"], self._tastes["benchmark"]
        twins = sorted(f"{ours[key]} = {theirs[key]}" for key in ours.keys() & theirs.keys())
        facts = {
            "training_persons": len(self._persons["training"]),
            "benchmark_persons": len(self._persons["benchmark"]),
            "shared_persons": shared,
            "persons_with_the_same_preferences": twins,
            # No offence: a sentence is a group of people, and tables know few.
            "seed_sentences_in_both": len(self._sentences["training"] & self._sentences["benchmark"]),
            "shared_revealing_turns": turns,
        }
        return Finding(name="disjoint persons", passed=not shared and not twins and not turns, facts=facts)


def disjoint_items(questions: Iterable[QuestionFacts]) -> Finding:
    """No combination of query and preference is in both splits."""
    items: dict[Split, dict[bytes, str]] = {"training": {}, "benchmark": {}}
    for question in questions:
        items[question.split][question.item] = question.question_id
    shared = sorted(items["benchmark"][key] for key in items["training"].keys() & items["benchmark"].keys())
    facts = {
        "training_items": len(items["training"]),
        "benchmark_items": len(items["benchmark"]),
        "shared_items": shared,
    }
    return Finding(name="disjoint items", passed=not shared, facts=facts)


class Evidence:
    """Knows the evidence of questions, sees histories pass by, and finds which questions lack theirs.

    `optional`: a question may name no evidence at all, as released rows do whose snippet is not in their history.
    """

    def __init__(self, questions: Iterable[QuestionFacts], *, optional: bool = False) -> None:
        self._waiting: dict[str, dict[str, tuple[str, ...]]] = {}
        self._questions = 0
        self._optional = optional
        for question in questions:
            self._waiting.setdefault(question.person_id, {})[question.question_id] = question.evidence
            self._questions += 1

    def add_history(self, person_id: str, turns: Iterable[str]) -> None:
        """Strike off the person's questions whose evidence is among these turn ids."""
        held = set(turns)
        waiting = self._waiting.get(person_id, {})
        found = [name for name, turns in waiting.items() if (turns or self._optional) and held.issuperset(turns)]
        for question_id in found:
            del waiting[question_id]

    def finding(self) -> Finding:
        """Every question's evidence is in its person's history."""
        lacking = sorted(question_id for waiting in self._waiting.values() for question_id in waiting)
        facts = {"questions": self._questions, "questions_without_evidence": lacking}
        return Finding(name="whole evidence", passed=not lacking, facts=facts)
