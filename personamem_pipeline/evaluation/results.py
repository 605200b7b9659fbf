"""`results.json`: everything a report shows, as plain data, so that HTML, tests and pooling read one thing.

It carries each person's totals per system; with them reports can be compared, and seeds pooled, without the answers.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation import score
from personamem_pipeline.evaluation.records import Answer, Benchmark, MemoryStep, OpenAnswer, Role
from personamem_pipeline.evaluation.statistics import Totals
from personamem_pipeline.evaluation.systems import Run, last_memories
from personamem_pipeline.records import History, Question

FORMAT = 3
TESTS = (
    ("grpo", "sft"),
    ("sft", "base"),
    ("grpo", "base"),
    ("grpo", "no_history"),
    ("grpo", "swapped_history"),
    ("oracle", "grpo"),
)
"""The pairs of systems that a report tests, where both were run."""
SAMPLE_PERSONS = 2

Results = dict[str, Any]


def build(
    benchmark: Benchmark,
    runs: Mapping[str, tuple[str, Role, Run]],
    *,
    resamples: int,
    opened: Mapping[str, Sequence[OpenAnswer]] = {},
    provenance: Mapping[str, Any] = {},
    refused: Sequence[Question] = (),
) -> Results:
    """All figures of one evaluation. `runs`: system -> (label, role, run), in the order in which to show them."""
    bounds = {"resamples": resamples, "seed": benchmark.seed}
    answers = {name: run.answers for name, (_, _, run) in runs.items()}
    return {
        "format": FORMAT,
        "benchmark": {
            "questions": len(benchmark.questions),
            "persons": len({q.person_id for q in benchmark.questions}),
            "option_orders": benchmark.orders,
            "seed": benchmark.seed,
            "resamples": resamples,
            "authors": dict(sorted(Counter(q.author for q in benchmark.questions).items())),
        },
        "systems": [
            score.summarize(answers[name], label=label, role=role, **bounds).model_dump(mode="json")
            for name, (label, role, _) in runs.items()
        ],
        "tests": [score.compare(answers[a], answers[b], **bounds) for a, b in TESTS if {a, b} <= set(answers)],
        "slices": {name: score.slices(rows, **bounds) for name, rows in answers.items()},
        "gaps": [gap for rows in answers.values() if (gap := score.stereotype_gap(rows, **bounds))],
        "ledger": [score.ledger(run.answers, run.steps) for _, role, run in runs.values() if role != "guesser"],
        "open": [score.open_scores(rows, **bounds) for rows in opened.values()],
        "judges": sorted({row.judge for rows in opened.values() for row in rows}),
        "certificate": certificate_funnel(benchmark.questions, refused),
        "samples": _samples(benchmark, runs),
        "persons": {name: _persons(rows) for name, rows in answers.items()},
        "provenance": dict(provenance),
    }


def load(path: Path) -> Results:
    """Read a `results.json`; refuses anything else with the path and what to do."""
    try:
        results = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError("no such file", where=path, expected="a report's results.json") from None
    except ValueError as error:
        raise UserError(f"not JSON: {error}", where=path, expected="a report's results.json") from error
    if not isinstance(results, dict) or results.get("format") != FORMAT or "persons" not in results:
        raise UserError(
            "not the results of a benchmark report",
            where=path,
            expected=f"results.json with format {FORMAT}",
            remedy="materialize benchmark_report again",
        )
    return results


def totals_of(results: Results, system: str) -> Totals:
    """One system's per-person totals, as the statistics take them."""
    rows = results["persons"][system]
    names = tuple(sorted(rows))
    right, asked = (np.array([rows[name][column] for name in names], dtype=np.float64) for column in (0, 1))
    return Totals(names, right, asked)


def certificate_funnel(admitted: Sequence[Question], refused: Sequence[Question]) -> dict[str, Any]:
    """How many questions were written, which were refused and why, and what the admitted ones give away."""
    certificates = [question.certificate for question in admitted]
    count = max(1, len(certificates))
    blind: dict[str, list[float]] = {}
    for certificate in certificates:
        for reader, accuracy in zip(certificate.readers, certificate.blind_by_reader, strict=True):
            blind.setdefault(reader, []).append(accuracy)
    return {
        "candidates": len(admitted) + len(refused),
        "admitted": len(admitted),
        "refused": len(refused),
        "reasons": dict(sorted(Counter(code for question in refused for code in _codes(question)).items())),
        "blind_accuracy": max((sum(of_one) / len(of_one) for of_one in blind.values()), default=0.0),
        "oracle_accuracy": sum(c.oracle_accuracy for c in certificates) / count,
        "longest_guess": sum(c.longest_guess for c in certificates) / count,
        "shortest_guess": sum(c.shortest_guess for c in certificates) / count,
        "readers": sorted({reader for c in certificates for reader in c.readers}),
    }


def _codes(refused: Question) -> list[str]:
    """Why a question was refused; an admitted one can only have gone to balance the lengths of its type's options."""
    return [reason.partition(":")[0] for reason in refused.certificate.reasons] or ["length"]


def _persons(answers: Sequence[Answer]) -> dict[str, list[int]]:
    data = score.person_totals(answers)
    return {name: [int(s), int(c)] for name, s, c in zip(data.names, data.sums, data.counts, strict=True)}


def _samples(benchmark: Benchmark, runs: Mapping[str, tuple[str, Role, Run]]) -> list[dict[str, Any]]:
    """The first persons (by id) with the memories that each model wrote of them, beside what is true of them."""
    asked_of = {question.person_id for question in benchmark.questions}
    persons = sorted(person for person in benchmark.histories if person in asked_of)[:SAMPLE_PERSONS]
    models = {name: run for name, (_, role, run) in runs.items() if role == "model" and run.steps}
    return [
        {
            "person_id": person,
            "tokens": benchmark.histories[person].tokens,
            "truth": _truth(benchmark.histories[person], [q for q in benchmark.questions if q.person_id == person]),
            "models": {name: _turns(run.steps, person) for name, run in models.items()},
            "final": {name: last_memories(run.steps).get(person, "") for name, run in models.items()},
            "questions": [_sample_question(q, models) for q in benchmark.questions if q.person_id == person],
        }
        for person in persons
    ]


def _turns(steps: Sequence[MemoryStep], person: str) -> list[dict[str, Any]]:
    return [step.model_dump(mode="json") for step in steps if step.subject == person]


def _truth(history: History, questions: Sequence[Question]) -> list[dict[str, Any]]:
    """What the benchmark's questions say is true, and in which session the person gave it away."""
    by_turn = {m.turn_id: s for s in history.sessions for m in s.messages}
    rows = [
        {
            "topic": question.topic,
            "preference": question.preference,
            "pref_type": question.pref_type,
            "who": question.who,
            "before": question.prev_pref,
            "evidence": [m.content for m in history.messages if m.turn_id in question.evidence],
            "conversation": sorted({by_turn[turn].conversation_type for turn in question.evidence if turn in by_turn}),
            "wording": question.wording,
        }
        for question in questions
    ]
    rows.sort(key=lambda row: (row["topic"], row["preference"], row["pref_type"]))
    return [row for row, _ in itertools.groupby(rows)]


def _sample_question(question: Question, models: Mapping[str, Run]) -> dict[str, Any]:
    own = {name: [a for a in run.answers if a.question_id == question.question_id] for name, run in models.items()}
    return {
        "query": question.user_query,
        "right": question.correct_answer,
        "wrong": list(question.incorrect_answers),
        "marks": {name: [a.correct for a in answers] for name, answers in own.items()},
        "replies": {name: answers[0].output for name, answers in own.items()},
    }
