"""What changed since an earlier report: paired tests of every system with its earlier self, and the rows that flipped.

Two reports can be compared when they asked the same: one benchmark, one seed of the option orders. Then their rows pair
one by one, and a change of a point is seen that two overlapping intervals would hide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.results import load
from personamem_pipeline.evaluation.scoring.pairs import corrected
from personamem_pipeline.evaluation.scoring.runs import SystemRun, at_the_end
from personamem_pipeline.evaluation.statistics.clusters import totals
from personamem_pipeline.evaluation.statistics.paired import paired_cluster_permutation
from personamem_pipeline.seeds import stable_int

SHOWN = 50
"""Flipped rows of each system that are listed; all are counted."""
ANSWERS, RESULTS = "answers.parquet", "results.json"
_COLUMNS = ("system", "question_id", "order", "correct", "picked")
Earlier = dict[tuple[str, int], tuple[bool, str | None]]
"""(question_id, order) -> whether it was right, and what was picked."""


class Incomparable(UserError):
    """Two reports that did not ask the same, so that a difference would say nothing of the models."""


def changes(
    systems: Mapping[str, SystemRun],
    earlier: Path | None,
    *,
    benchmark: str,
    orders: int,
    seed: int,
    resamples: int,
    reading: Mapping[str, Any],
    configured: Mapping[str, Any] = {},
    against: str = "",
) -> dict[str, Any] | None:
    """The part `changes` of results, against the report in the directory `earlier`; None without one.

    `benchmark` is the version of the benchmark that was asked now. `against` is what the earlier report is called (its
    version); empty: the directory's name. Guessers are left out: they cannot change. Tests are on the answers that both
    reports have after the whole history, a positive difference meaning better now, and corrected over the systems.

    `reading` is how models read and decode now (keys of the provenance: memory, engine, temperature), and `configured` how
    each system is (its key `systems`): one that was configured otherwise is another system, and listed under `left_out`.

    Raises:
        Incomparable: the earlier report is of another format, or asked another benchmark, with other option orders, another
            seed, or of models that read and decode otherwise.
    """
    if earlier is None:
        return None
    try:
        before = load(earlier / RESULTS)
    except UserError as error:  # its bytes are what they were: it is of another version of this project
        raise Incomparable(error.problem, where=earlier, expected=error.expected) from error
    _refuse_another_test(before, earlier, {"benchmark": benchmark, "option orders": orders, "seed": seed, **reading})
    then = _earlier_answers(earlier)
    tests, flipped, counts = [], [], {}
    before_as = before["provenance"].get("systems", {})
    other = [name for name in configured if name in before_as and before_as[name] != configured[name]]
    for name, run in systems.items():
        if name in other:
            continue
        rows = [] if run.role == "guesser" else _both(run, then.get(name, {}))
        if not rows:
            continue
        tests.append({"system": name, **_test(rows, resamples, seed)})
        moved = [row for row in rows if row["after"] != row["before"]]
        counts[name] = {"gained": sum(row["after"] for row in moved), "lost": sum(row["before"] for row in moved)}
        told = [{"system": name, **{key: row[key] for key in _SHOWN_KEYS}} for row in moved]
        flipped += sorted(told, key=_losses_first)[:SHOWN]
    return {
        "against": against or earlier.name,
        "tests": corrected(tests),
        "flipped": flipped,
        "flipped_counts": counts,
        "left_out": other,
    }


_SHOWN_KEYS = ("question_id", "order", "before", "after", "picked_before", "picked_after")


def _losses_first(row: Mapping[str, Any]) -> tuple[bool, int]:
    return bool(row["after"]), stable_int("flipped", row["system"], row["question_id"], row["order"])


def _refuse_another_test(before: Mapping[str, Any], earlier: Path, now: Mapping[str, Any]) -> None:
    then = {
        "benchmark": before["provenance"].get("versions", {}).get("benchmark"),
        "option orders": before["benchmark"]["option_orders"],
        "seed": before["benchmark"]["seed"],
    }
    then |= {what: before["provenance"].get(what) for what in now if what not in then}
    if differing := [what for what, value in now.items() if then[what] != value]:
        told = ", ".join(f"{what} {then[what]}, now {now[what]}" for what in differing)
        raise Incomparable(
            f"the earlier report did not ask the same: {told}",
            where=earlier,
            expected="a report on the same benchmark, option orders and seed",
            remedy="compare with another report, or evaluate the earlier checkpoint on this benchmark",
        )


def _earlier_answers(earlier: Path) -> dict[str, Earlier]:
    """System -> its answers of an earlier report."""
    path = earlier / ANSWERS
    if not path.is_file():
        raise UserError("the earlier report has no answers", where=path, expected="a whole report directory")
    table = pq.read_table(path, columns=list(_COLUMNS), filters=pc.field("moment") == "end")
    found: dict[str, Earlier] = {}
    for system, question, order, *marks in zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True):
        found.setdefault(system, {})[question, order] = (marks[0], marks[1])
    return found


def _both(run: SystemRun, earlier: Earlier) -> list[dict[str, Any]]:
    """What a system answered in both reports, question by question and order by order."""
    rows = []
    for answer in at_the_end(run.answers):
        then = earlier.get((answer.question_id, answer.order))
        if then is not None:
            rows.append(
                {
                    "question_id": answer.question_id,
                    "order": answer.order,
                    "person": answer.person_id,
                    "before": then[0],
                    "after": answer.correct,
                    "picked_before": then[1],
                    "picked_after": answer.picked,
                }
            )
    return rows


def _test(rows: Sequence[Mapping[str, Any]], resamples: int, seed: int) -> dict[str, Any]:
    people = [row["person"] for row in rows]
    now, then = ([row[key] for row in rows] for key in ("after", "before"))
    test = paired_cluster_permutation(
        totals(now, people), totals(then, people), resamples=resamples, seed=seed, correct_a=now, correct_b=then
    )
    return {"accuracy": sum(now) / len(now), "before": sum(then) / len(then), **asdict(test)}
