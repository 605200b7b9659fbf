"""Which answers people are asked to score, and what is known about them: the sample, drawn from a stored report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from personamem_pipeline.arrow import stream_parquet
from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.judging.anchors import answer_id
from personamem_pipeline.evaluation.judging.briefs import Brief, brief, evidence_of
from personamem_pipeline.evaluation.judging.panel import answered
from personamem_pipeline.evaluation.records import OpenAnswer
from personamem_pipeline.evaluation.results import load
from personamem_pipeline.questions.copying import HISTORIES, QUESTIONS
from personamem_pipeline.records import History, Message, Question
from personamem_pipeline.seeds import rng
from personamem_pipeline.store import Store

OPEN_ANSWERS, RESULTS = "open_answers.parquet", "results.json"


@dataclass(frozen=True)
class Judged:
    """The open answers of a report that a judge was asked about, each once however many systems gave it."""

    answers: Mapping[str, OpenAnswer]
    """By answer id, in order."""
    threshold: float
    benchmark: str
    """Version of the benchmark."""

    def scores(self, ids: Sequence[str]) -> dict[str, list[float | None]]:
        """Judge -> their scores of these answers."""
        rows = [{own.judge: own.score for own in self.answers[answer_id].judgements} for answer_id in ids]
        return {
            judge: [row.get(judge) for row in rows] for judge in dict.fromkeys(name for row in rows for name in row)
        }


def read_judged(report: Path) -> Judged:
    """From a report's directory. Raises `UserError` for one that is none, or in which nothing was judged."""
    results = load(report / RESULTS)
    path = report / OPEN_ANSWERS
    rows = [row for row in stream_parquet(path, OpenAnswer) if answered(row)] if path.is_file() else []
    distinct: dict[tuple[str, str], OpenAnswer] = {}
    for row in sorted(rows, key=lambda row: (row.question_id, row.system)):
        distinct.setdefault((row.question_id, row.answer), row)
    if not distinct or not results["open"]:
        raise UserError("it has no open answers", where=report, expected="a report with a system that is asked openly")
    return Judged(
        answers={answer_id(row): row for row in distinct.values()},
        threshold=float(results["open"][0]["threshold"]),
        benchmark=str(results["provenance"]["versions"]["benchmark"]),
    )


def briefs(judged: Judged, benchmark: Path) -> dict[str, Brief]:
    """What judges were told of each answer; `benchmark` is the directory of the dataset that was asked."""
    wanted = {row.question_id for row in judged.answers.values()}
    questions = {
        question.question_id: question
        for question in stream_parquet(benchmark / QUESTIONS, Question)
        if question.question_id in wanted
    }
    if missing := sorted(wanted - set(questions)):
        problem = f"it has no question {missing[0]}, which the report answers"
        raise UserError(problem, where=benchmark / QUESTIONS, expected=f"the benchmark {judged.benchmark}")
    asked: dict[str, list[Question]] = defaultdict(list)
    for question in questions.values():
        asked[question.person_id].append(question)
    turns: dict[str, tuple[Message, ...]] = {}
    for history in stream_parquet(benchmark / HISTORIES, History):
        turns |= evidence_of(history, asked.pop(history.person_id, ()))
    if asked:
        raise UserError(f"it has no history of {min(asked)}", where=benchmark / HISTORIES)
    return {
        own: brief(questions[row.question_id], turns[row.question_id], row.answer)
        for own, row in judged.answers.items()
    }


def find_benchmark(report: Path, version: str, store: Store) -> Path:
    """The directory of a stored benchmark, verified: in the store that the report stands in, else in `store`."""
    stores = [Store(report.resolve().parent.parent), store]
    here = next((own for own in stores if own.path("benchmark", version).is_dir()), None)
    if here is None:
        raise UserError(
            f"the benchmark {version[:12]} of this report is not in the store",
            where=store.url,
            remedy="name its directory: --benchmark DIRECTORY",
        )
    return here.verified("benchmark", version)


def draw(judged: Judged, count: int, seed: int) -> list[str]:
    """Ids of up to `count` answers in a seeded order, spread evenly over question types and the panel's outcomes.

    Even, not proportional: where nine of ten answers are right, a plain sample has so few wrong ones that agreement by
    chance is all one could measure. Neither stratum nor system can be told from the order.
    """
    strata: dict[tuple[str, str], list[str]] = defaultdict(list)
    for own, answer in judged.answers.items():
        strata[answer.pref_type, _outcome(answer, judged.threshold)].append(own)
    waiting: list[list[str]] = []
    for name, ids in sorted(strata.items()):
        waiting.append(rng(seed, "anchors of a stratum", *name).sample(ids, len(ids)))
    taken: list[str] = []
    while len(taken) < count and any(waiting):
        taken += [ids.pop() for ids in waiting if ids][: count - len(taken)]
    return rng(seed, "order of anchors").sample(taken, len(taken))


def _outcome(answer: OpenAnswer, threshold: float) -> str:
    if answer.score is None:
        return "missing"
    return "right" if answer.score >= threshold else "wrong"
