"""Scoring samples as the report does: the same parsers, labels and judges, errors clustered by person.

`choice` needs nothing but the log, so that `inspect score` can read old logs again. Its values: `strict` (the headline),
`lenient` (any usual way of naming an option) and `unparseable`. `judged` is for answers without options: `score` is the
judges' mean, `right` whether it reaches the threshold; where a judge gives no verdict there is no score, never a zero.
"""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from functools import partial
from typing import cast

import anyio.to_thread
from inspect_ai.scorer import (
    CORRECT,
    INCORRECT,
    Metric,
    MetricProtocol,
    SampleScore,
    Score,
    Scorer,
    Target,
    Value,
    accuracy,
    grouped,
    mean,
    metric,
    scorer,
    stderr,
)
from inspect_ai.solver import TaskState

from personamem_pipeline.evaluation.inspect.dataset import Library
from personamem_pipeline.evaluation.inspect.solver import generation
from personamem_pipeline.evaluation.judging.briefs import evidence_of
from personamem_pipeline.evaluation.judging.panel import Panel
from personamem_pipeline.evaluation.records import OpenAnswer, Problem, Reply
from personamem_pipeline.evaluation.scoring import parsing
from personamem_pipeline.evaluation.scoring.answers import AnswerKey, open_answers
from personamem_pipeline.presets import EvaluationConfig, load_preset
from personamem_pipeline.questions.options import LETTERS


@metric
def person_stderr() -> Metric:
    """Standard error of the mean, clustered by person: one person's questions share a history and are not independent.

    Inspect's estimate (Miller 2024, arXiv 2411.00640, appendix A, with a factor C/(C-1) for C clusters). Of one person it
    is not a number, where Inspect's own would be 0: nothing tells how persons differ.
    """
    clustered = cast(MetricProtocol, stderr(cluster="person_id"))

    def of(scores: list[SampleScore]) -> float:
        people = {(score.sample_metadata or {})["person_id"] for score in scores}
        return cast(float, clustered(scores)) if len(people) > 1 else float("nan")

    return of


@metric
def by_label() -> Metric:
    """The mean over the samples of each label: by type, by whose preference it is, and updated ones apart."""
    each = [
        cast(MetricProtocol, grouped(accuracy(), label, all=False, name_template=f"{label}={{group_name}}"))
        for label in ("pref_type", "who", "updated")
    ]

    def of(scores: list[SampleScore]) -> Value:
        return {name: value for one in each for name, value in cast(dict[str, float], one(scores)).items()}

    return of


@scorer(
    metrics={
        "strict": [accuracy(), person_stderr(), by_label()],
        "lenient": [accuracy(), person_stderr()],
        "unparseable": [mean()],
    }
)
def choice() -> Scorer:
    """The letter that a reply picks. What cannot be asked, finished or parsed is wrong, and is counted."""

    async def score(state: TaskState, target: Target) -> Score:
        said = reply(state)
        options = dict(zip(LETTERS, (option.value for option in state.choices), strict=True))
        picked = parsing.strict(said.output, options)
        leniently = picked or parsing.lenient(said.output, options)
        return Score(
            value={
                "strict": CORRECT if picked == target.text else INCORRECT,
                "lenient": CORRECT if leniently == target.text else INCORRECT,
                "unparseable": float(picked is None),
            },
            answer=picked,
            explanation=said.output,
            metadata={
                "picked_leniently": leniently,
                "leaks": picked is not None and picked in state.metadata["leaking"],
                "finished": said.finished,
                "problem": said.problem,
            },
        )

    return score


@scorer(
    metrics={
        "score": [mean(), person_stderr(), by_label()],
        "right": [accuracy(), person_stderr()],
    }
)
def judged(library: Library, preset: str = "") -> Scorer:
    """The judges of the preset (default: those of every preset that names none) on an answer without options."""
    config = load_preset(preset).evaluation if preset else EvaluationConfig()
    panel = Panel.configured(config.judges, config.seed)

    async def score(state: TaskState, target: Target) -> Score:
        answer = read_open(state, library)
        person = library.person(answer.person_id)
        questions = [question for question in person.questions if question.question_id == answer.question_id]
        judge = partial(panel.judge, [answer], questions, evidence_of(person.history, questions))
        (answer,) = await anyio.to_thread.run_sync(judge)
        reasons = {verdict.judge: verdict.reason for verdict in answer.judgements}
        scores = {verdict.judge: verdict.score for verdict in answer.judgements}
        if answer.score is None:
            missing = [judge for judge, given in scores.items() if given is None]
            why = f"no verdict from {', '.join(missing)}: {reasons[missing[0]]}"
            return Score.unscored(answer=answer.answer, explanation=why, metadata={"judges": scores})
        return Score(
            value={
                "score": answer.score,
                "right": CORRECT if answer.score >= config.open_threshold else INCORRECT,
            },
            answer=answer.answer,
            explanation="\n".join(f"{judge}: {scores[judge]:g}, {reason}" for judge, reason in reasons.items()),
            metadata={"judges": scores},
        )

    return score


def read_open(state: TaskState, library: Library) -> OpenAnswer:
    """A sample's reply as the report reads and labels it, not judged yet."""
    question_id = state.metadata["question_id"]
    own = AnswerKey({question_id: library.key.labels[question_id]}, {})
    (answer,) = open_answers(str(state.model), own, [reply(state)])
    return answer


def reply(state: TaskState) -> Reply:
    """A sample's output as the journal would keep it."""
    said = generation(state.output)
    problem: Problem = "refused" if said.refused else ""
    if state.output.stop_reason == "model_length" and not said.text:
        problem = "over_long"
    return Reply(
        question_id=state.metadata["question_id"],
        order=state.metadata.get("order"),
        output=said.text,
        finished=said.finished,
        problem=problem,
        input_tokens=said.input_tokens,
        output_tokens=said.output_tokens,
    )
