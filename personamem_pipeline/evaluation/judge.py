"""Scoring open-ended answers with a judge model behind the one model endpoint.

The judge sees the answer, as in training without the line that was quoted first, and the labelled preference, never the
four options. It fails closed: a refusal, or a reply that is not a verdict, gives `score` None with the reason; that counts
as missing and is bounded in reports, never as 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from personamem_pipeline.errors import Refused
from personamem_pipeline.evaluation.records import Benchmark, OpenAnswer, labels
from personamem_pipeline.memory import episode
from personamem_pipeline.memory.generators.base import Generator
from personamem_pipeline.memory.prompts import open_answer, without_thinking
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.questions.judge import Judge, Verdict, brief


def answer_openly(
    benchmark: Benchmark, name: str, known: Mapping[str, episode.Known], generator: Generator, config: MemoryConfig
) -> list[OpenAnswer]:
    """Answer each question without its options; not yet judged (`judge` empty, `score` None)."""
    replies = episode.answer(
        [known[question.person_id] for question in benchmark.questions],
        [question.user_query for question in benchmark.questions],
        [None] * len(benchmark.questions),
        generator,
        config,
    )
    return [
        OpenAnswer.model_validate(
            {
                **labels(question, name),
                "answer": without_thinking(reply.text).strip(),
                "score": None,
                "judge": "",
                "reason": "not judged",
                "input_tokens": len(reply.prompt_ids),
                "output_tokens": len(reply.token_ids),
            }
        )
        for question, reply in zip(benchmark.questions, replies, strict=True)
    ]


def judge_all(judge: Judge, benchmark: Benchmark, answers: Sequence[OpenAnswer]) -> list[OpenAnswer]:
    """The same answers with verdicts. What was answered is never generated again: another judge can rescore it."""
    questions = {question.question_id: question for question in benchmark.questions}
    verdicts = judge.verdicts([brief(questions[answer.question_id], open_answer(answer.answer)) for answer in answers])
    return [
        answer.model_copy(update={"judge": judge.name, **_outcome(verdict)})
        for answer, verdict in zip(answers, verdicts, strict=True)
    ]


def _outcome(verdict: Verdict | Refused) -> dict[str, Any]:
    if isinstance(verdict, Refused):
        return {"score": None, "reason": f"no verdict: {verdict}"}
    return {"score": verdict.score, "reason": verdict.reason}
