"""Forgetting as a pair: known before the request, not used after it.

The right option after a request to forget serves nobody in particular, so a system that never knew anything is right there
too. Each such question is therefore also asked of what was known just before the request, where the option that uses the
preference is right; only both together show that something was known and then dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from personamem_pipeline.evaluation.scoring.rows import Rows
from personamem_pipeline.evaluation.scoring.runs import SystemRun, at_the_end
from personamem_pipeline.evaluation.scoring.summary import share_bounds

MOMENTS = 2


def forget_rows(runs: Iterable[SystemRun]) -> list[dict[str, Any]]:
    """`forget` of every system, with `both_in_common` over the `in_common` pairs that all of these systems have.

    Which pairs can be measured depends on where a system's chunks end, so that `both` of two systems may be over different
    questions; only `both_in_common` compares them.
    """
    found = [(run, row) for run in runs if (row := forget(run)) is not None]
    places = [{(a.question_id, a.order) for a in run.answers if a.moment == "before_forget"} for run, _ in found]
    common = set.intersection(*(own for own in places if own)) if any(places) else set()
    return [{**row, "in_common": len(common), "both_in_common": _both(run, common)} for run, row in found]


def _both(run: SystemRun, places: set[tuple[str, int]]) -> float | None:
    marks: dict[tuple[str, int], list[bool]] = {}
    for answer in run.answers:
        if (answer.question_id, answer.order) in places:
            marks.setdefault((answer.question_id, answer.order), []).append(answer.correct)
    return _share([all(own) for own in marks.values() if len(own) == MOMENTS])


def forget(run: SystemRun) -> dict[str, Any] | None:
    """One row of `forget`, counted in answers (questions times option orders).

    A *pair* is the answer before the request and the answer after the whole history to the same question in the same
    option order. `asked` answers after the history are about something to forget; `pairs` of them have an answer before
    and `not_measurable` have none (no memory stood between evidence and request, or the data do not tell the option that
    uses the preference). `recalled_before` and `forgotten_after` are the shares of pairs that are right at either moment,
    `both` of those that are right at both, with its interval; `dropped` is `both` over `recalled_before`: of what was
    known, how much was let go. Shares of no pairs are None.

    None for systems that cannot be asked at two moments (a guesser, or one that reads no history) and where the benchmark
    asks nobody to forget.
    """
    after = {(a.question_id, a.order): a for a in at_the_end(run.answers) if a.pref_type == "ask_to_forget"}
    before = [answer for answer in run.answers if answer.moment == "before_forget"]
    if not after or (not before and run.role != "model"):
        return None
    pairs = [(answer, after[answer.question_id, answer.order]) for answer in before]
    both = [first.correct and second.correct for first, second in pairs]
    recalled, forgotten = _share([first.correct for first, _ in pairs]), _share([second.correct for _, second in pairs])
    whole = _share(both)
    return {
        "system": run.name,
        "asked": len(after),
        "pairs": len(pairs),
        "recalled_before": recalled,
        "forgotten_after": forgotten,
        "both": whole,
        **share_bounds(Rows.of(before).totals(values=both) if before else None),
        "dropped": whole / recalled if whole is not None and recalled else None,
        "not_measurable": len(after) - len(pairs),
    }


def _share(marks: Sequence[bool]) -> float | None:
    return sum(marks) / len(marks) if marks else None
