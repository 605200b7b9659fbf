"""Paired tests between the systems of one report: who answered the same questions better.

Which pairs are tested follows from the systems that were run, before any answer is seen: the trained model against what it
was trained from, against each control, baseline and system of others, and below its oracle. Every p value is corrected for
all tests of its table (Holm), with the plain one beside it: the first test is the question that the report was made for,
and a reader who asked nothing else may read it plainly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.scoring.rows import Rows
from personamem_pipeline.evaluation.scoring.runs import TRAINED, SystemRun, main_system
from personamem_pipeline.evaluation.statistics.clusters import Totals
from personamem_pipeline.evaluation.statistics.corrections import holm
from personamem_pipeline.evaluation.statistics.paired import paired_cluster_permutation
from personamem_pipeline.evaluation.statistics.power import detectable

TRAININGS = (("grpo", "sft"), ("sft", "base"), ("grpo", "base"))
COMPARED = ("control", "baseline", "external")
"""Roles that the main system is held against."""
PERSONS = (50, 100, 200, 500, 1000)
"""Sizes of benchmark for which the power is told."""


def pairs(systems: Mapping[str, SystemRun]) -> list[tuple[str, str]]:
    """The pairs (a, b) to test. Without a system called `grpo` the first model takes its place."""
    found = [(a, b) for a, b in TRAININGS if a in systems and b in systems]
    main = main_system(systems)
    if main is None:
        return found
    others = [name for name, run in systems.items() if run.role in COMPARED and name != main]
    found += [(main, name) for name in others if systems[name].reading != "oracle"]
    return found + [(name, main) for name in others if systems[name].reading == "oracle"]


def paired_tests(
    chosen: Sequence[tuple[str, str]], rows: Mapping[str, Rows], *, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """One row per pair; p values are None with one person, and stand uncorrected for nothing."""
    return corrected([compare(rows[a], rows[b], resamples=resamples, seed=seed) for a, b in chosen])


def compare(a: Rows, b: Rows, *, resamples: int, seed: int) -> dict[str, Any]:
    """Paired test of two systems' answers, persons exchanged whole; refuses answers that do not pair row by row."""
    if a.places() != b.places():
        raise UserError(
            f"the answers of {a.system} and {b.system} are not to the same questions and option orders",
            expected="the same rows in the same order",
            remedy="evaluate both on the same benchmark with the same option orders",
        )
    test = paired_cluster_permutation(
        a.totals(),
        b.totals(),
        resamples=resamples,
        seed=seed,
        correct_a=[answer.correct for answer in a.answers],
        correct_b=[answer.correct for answer in b.answers],
    )
    return {"a": a.system, "b": b.system, **asdict(test)}


def corrected(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same tests with `p_corrected`, for all of them having been looked at."""
    return [{**row, "p_corrected": p} for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True)]


def type_tests(a: Rows, b: Rows, *, resamples: int, seed: int) -> list[dict[str, Any]]:
    """The same pair on each type of question, corrected for the number of types."""
    found = []
    for value, own in sorted(a.by(lambda answer: answer.pref_type).items()):
        sides = (Rows.of([side.answers[index] for index in own]) for side in (a, b))
        found.append({"dimension": "type", "value": value, **compare(*sides, resamples=resamples, seed=seed)})
    return corrected(found)


def power(a: Rows, b: Rows) -> dict[str, Any] | None:
    """The smallest true difference of a pair that this benchmark shows four times out of five (80 % power at 5 %).

    `difference` is that difference as a share of the answers, and `detectable_points` the same in points of a hundred;
    `se`, `sd` and `persons` are what it rests on. `by_persons` says what benchmarks of other sizes, made of such persons,
    would show. None for one person, and for systems that answered alike: a spread that was not seen is not known.
    """
    first, second = a.totals(), b.totals()
    differences = Totals(first.names, first.sums - second.sums, first.counts)
    found = detectable(differences)
    if found is None:
        return None
    others = [detectable(differences, persons=persons) for persons in PERSONS]
    return {
        "a": a.system,
        "b": b.system,
        **asdict(found),
        "detectable_points": 100 * found.difference,
        "by_persons": [
            {"persons": other.persons, "detectable_points": 100 * other.difference} for other in others if other
        ],
    }


def leak_sizes(
    systems: Mapping[str, SystemRun], rows: Mapping[str, Rows], *, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """What it is worth to know the question while writing, of every system that does.

    `against` is the same model's `query_blind` of the same caps, whose prompt lacks the question and nothing else; where
    that was not run, the memory that the model writes by its own protocol, and the difference is then also that of two
    prompts (`same_prompt` False). `own` is the accuracy with that memory, None where it was not run. `new_prompt`: the model
    was trained on other writing prompts.
    """
    found = []
    for name, run in systems.items():
        if run.reading != "query_aware":
            continue
        same = [(own, other) for own, other in systems.items() if other.model == run.model]
        twin = next((own for own, other in same if other.reading == "query_blind" and _caps(other) == _caps(run)), None)
        plain = next((own for own, other in same if other.role == "model"), None)
        against = twin or plain
        if against is None:
            continue
        test = compare(rows[name], rows[against], resamples=resamples, seed=seed)
        found.append(
            {
                "system": name,
                "against": against,
                "same_prompt": twin is not None,
                "blind": rows[against].totals().mean,
                "aware": rows[name].totals().mean,
                "own": rows[plain].totals().mean if plain else None,
                "new_prompt": run.model in TRAINED,
                **{key: test[key] for key in ("difference", "low", "high", "p")},
            }
        )
    return found


def _caps(run: SystemRun) -> tuple[int | None, int | None]:
    return run.memory_cap, run.chunk_tokens
