from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from personamem_pipeline.errors import Refused
from personamem_pipeline.evaluation.judge import answer_openly, judge_all
from personamem_pipeline.evaluation.records import Benchmark, OpenAnswer, labels
from personamem_pipeline.evaluation.systems import MemorySystem, known
from personamem_pipeline.llm.client import Endpoint
from personamem_pipeline.memory.generators.scripted import ScriptedGenerator
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.questions.judge import EndpointJudge, Verdict, brief


def test_the_simulator_judges_through_the_real_client(
    benchmark: Benchmark, memory: MemoryConfig, model: Callable[[float], ScriptedGenerator]
) -> None:
    judge = EndpointJudge(Endpoint(None, "simulator/1", None), seed=0)
    generator = model(1.0)
    histories = {person: history.messages for person, history in benchmark.histories.items()}
    memories = known(histories, MemorySystem("grpo", "GRPO", generator, memory).run(benchmark).steps, memory)
    answers = judge_all(judge, benchmark, answer_openly(benchmark, "grpo", memories, generator, memory))
    by_type = {kind: {a.score for a in answers if a.pref_type == kind} for kind in {a.pref_type for a in answers}}
    assert by_type["neutral_preferences"] == {1.0}
    assert by_type["ask_to_forget"] == {0.0}  # the scripted model uses what it was asked to forget
    assert {a.judge for a in answers} == {"simulator/1"}


def test_a_quoted_line_alone_is_no_answer(benchmark: Benchmark) -> None:
    """Training pays for the answer without the line quoted first, so evaluation must not score that line either."""
    seen: list[str] = []

    class Listening(Broken):
        def verdicts(self, briefs: Sequence[Mapping[str, Any]]) -> list[Verdict | Refused]:
            seen.extend(brief["answer"] for brief in briefs)
            return super().verdicts(briefs)

    question = benchmark.questions[0]
    replies = ["- drinks: green tea\nYou could try water.", "- drinks: green tea"]
    answers = [
        OpenAnswer.model_validate(
            {
                **labels(question, "grpo"), "answer": reply, "score": None, "judge": "", "reason": "",
                "input_tokens": 1, "output_tokens": 1,
            }
        )
        for reply in replies
    ]  # fmt: skip
    judge_all(Listening(), benchmark, answers)
    assert seen == ["You could try water.", ""]


def test_the_judge_never_sees_the_options(benchmark: Benchmark) -> None:
    question = benchmark.questions[0]
    text = str(brief(question, "my answer"))
    assert not any(option in text for option in question.options)


class Broken:
    """Gives every second verdict."""

    name = "broken"

    def verdicts(self, briefs: Sequence[Mapping[str, Any]]) -> list[Verdict | Refused]:
        return [Refused("row", "nonsense") if i % 2 else Verdict(score=1.0, reason="") for i in range(len(briefs))]


def test_a_judge_that_errs_gives_no_score(
    benchmark: Benchmark, memory: MemoryConfig, model: Callable[[float], ScriptedGenerator]
) -> None:
    nothing = dict.fromkeys(benchmark.histories, "")
    answers = judge_all(Broken(), benchmark, answer_openly(benchmark, "grpo", nothing, model(1.0), memory))
    assert [a.score for a in answers[:2]] == [1.0, None]
    assert "nonsense" in answers[1].reason


@pytest.mark.parametrize("score", [-0.1, 1.5, float("nan")])
def test_a_score_outside_its_range_is_no_verdict(score: float) -> None:
    with pytest.raises(ValidationError):
        Verdict(score=score, reason="")
