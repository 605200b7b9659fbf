"""`results.json`: everything a report shows, as plain data, so that page, tests and pooling read one thing.

It carries each person's totals per system; with them reports can be compared, and seeds pooled, without the answers. The
figures are made in `scoring`; here they are put together. Shares are from 0 to 1; None is a figure that is not known, and
never stands for 0. There are no times, dates or paths in it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.asked import ask
from personamem_pipeline.evaluation.regression import regressions
from personamem_pipeline.evaluation.scoring import pairs
from personamem_pipeline.evaluation.scoring.forget import forget_rows
from personamem_pipeline.evaluation.scoring.ledger import ledger
from personamem_pipeline.evaluation.scoring.opened import open_scores
from personamem_pipeline.evaluation.scoring.rows import Rows
from personamem_pipeline.evaluation.scoring.runs import SystemRun, at_the_end
from personamem_pipeline.evaluation.scoring.shown import shown
from personamem_pipeline.evaluation.scoring.slices import slice_groups, slices, stereotype_gap
from personamem_pipeline.evaluation.scoring.summary import leak_questions, summarize
from personamem_pipeline.evaluation.source import Source
from personamem_pipeline.evaluation.statistics.clusters import Totals
from personamem_pipeline.presets import PricesConfig, RegressionConfig
from personamem_pipeline.questions.facts import code_of
from personamem_pipeline.questions.released_records import RELEASED
from personamem_pipeline.records import Question, Rejection

FORMAT = 5
FEW = 10
"""Below so many persons a report says that its intervals are too narrow."""
ONE_PERSON = "the benchmark has one person: without a spread between people there are no intervals and no tests"

Results = dict[str, Any]
_REASON = re.compile(r"[a-z_]+: ")


def build(
    source: Source,
    systems: Mapping[str, SystemRun],
    *,
    resamples: int,
    open_threshold: float,
    shown_questions: int,
    prices: PricesConfig | None = None,
    judging: Mapping[str, Any] | None = None,
    leak_probe: Sequence[Mapping[str, Any]] = (),
    changes: Mapping[str, Any] | None = None,
    regression: RegressionConfig | None = None,
    remarks: Sequence[str] = (),
    provenance: Mapping[str, Any] | None = None,
    rejected: Sequence[Rejection] = (),
) -> Results:
    """All figures of one evaluation. `systems` in the order in which to show them; each must have answered everything.

    `changes` are those against an earlier report (`scoring.changes`); with `regression` they are held against its bounds.
    `rejected` is what was planned or written for the benchmark and is not in it, for the funnel. Everything is drawn with
    the source's seed.
    """
    bounds = {"resamples": resamples, "seed": source.seed}
    rows = {name: Rows.of(at_the_end(run.answers), name) for name, run in systems.items()}
    _refuse_gaps(source, rows)
    texts = {
        (question.question_id, order): ask(question, source.seed, order).options
        for question in source.questions
        for order in range(source.orders)
    }
    groups = slice_groups(next(iter(rows.values())))
    private, chosen = leak_questions(source.questions), pairs.pairs(systems)
    first = [rows[name] for name in chosen[0]] if chosen else []
    return {
        "format": FORMAT,
        "benchmark": {
            "questions": len(source.questions),
            "persons": len(source.by_person),
            "option_orders": source.orders,
            "seed": source.seed,
            "resamples": resamples,
            "authors": dict(sorted(Counter(question.author for question in source.questions).items())),
        },
        "systems": [
            summarize(run, rows[name], texts=texts, leak_questions=private, **bounds) for name, run in systems.items()
        ],
        "tests": pairs.paired_tests(chosen, rows, **bounds),
        "slices": {name: slices(own, groups) for name, own in rows.items()},
        "type_tests": pairs.type_tests(first[0], first[1], **bounds) if first else [],
        "gaps": [gap for own in rows.values() if (gap := stereotype_gap(own, **bounds)) is not None],
        "forget": forget_rows(systems.values()),
        "ledger": ledger(systems, prices),
        "power": pairs.power(first[0], first[1]) if first else None,
        "open": [open_scores(run.open, threshold=open_threshold, **bounds) for run in systems.values() if run.open],
        "judging": dict(judging) if judging is not None else None,
        "leak_probe": [dict(row) for row in leak_probe],
        "leak_sizes": pairs.leak_sizes(systems, rows, **bounds),
        "changes": dict(changes) if changes is not None else None,
        "regressions": regressions(changes, regression) if changes is not None and regression is not None else None,
        "remarks": [*remarks, *_few(len(source.by_person))],
        "certificate": certificate_funnel(source.questions, rejected),
        "persons": {name: _persons(own.totals()) for name, own in rows.items()},
        "provenance": dict(provenance or {}),
        **shown(source, systems, texts, shown_questions),
    }


def _few(persons: int) -> list[str]:
    if persons < 2:
        return [ONE_PERSON]
    # Simulated: they hold the truth in 68 % of benchmarks with 2 persons, 83 % with 3, 94 % with 5, 96 % with 10.
    told = f"{persons} people are few: intervals hold the truth less often than the 95 % that they say"
    return [told] if persons < FEW else []


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


def certificate_funnel(admitted: Sequence[Question], rejected: Sequence[Rejection]) -> dict[str, Any]:
    """How much was planned or written, what was rejected and why (a row can have several reasons), and what the admitted
    questions give away.

    Accuracies are over the questions that somebody certified, None where that is none of them: the released files come
    with nothing measured but the guesses by length.
    """
    every = [question.certificate for question in admitted]
    certified = [certificate for certificate in every if certificate.readers != RELEASED.readers]
    blind: dict[str, list[float]] = {}
    for certificate in certified:
        for reader, accuracy in zip(certificate.readers, certificate.blind_by_reader, strict=True):
            blind.setdefault(reader, []).append(accuracy)
    return {
        "candidates": len(admitted) + len(rejected),
        "admitted": len(admitted),
        "refused": len(rejected),
        "reasons": dict(sorted(Counter(code for row in rejected for code in _codes(row)).items())),
        "blind_accuracy": max((sum(of_one) / len(of_one) for of_one in blind.values()), default=None),
        "oracle_accuracy": _mean([certificate.oracle_accuracy for certificate in certified]),
        "longest_guess": _mean([certificate.longest_guess for certificate in every]),
        "shortest_guess": _mean([certificate.shortest_guess for certificate in every]),
        "readers": sorted({reader for certificate in certified for reader in certificate.readers}),
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _codes(row: Rejection) -> set[str]:
    """The codes of a rejection's reasons, one a line; an explanation may have lines of its own."""
    first, *more = row.reason.splitlines() or [row.reason]
    return {code_of(first), *(code_of(line) for line in more if _REASON.match(line))}


def _persons(data: Totals) -> dict[str, list[int]]:
    return {name: [int(s), int(c)] for name, s, c in zip(data.names, data.sums, data.counts, strict=True)}


def _refuse_gaps(source: Source, rows: Mapping[str, Rows]) -> None:
    if not rows:
        raise UserError(
            "no system was evaluated", where=source.where, remedy="look at the remarks: why was each left out?"
        )
    asked = [(question.question_id, order, "end") for question in source.questions for order in range(source.orders)]
    for name, own in rows.items():
        if own.places() != asked:
            raise UserError(
                f"its {len(own.answers)} answers are not those to the {len(asked)} questions and option orders asked",
                where=f"system {name}",
                expected="one answer to each, in order",
                remedy="score its replies to this benchmark (scoring.answers)",
            )
