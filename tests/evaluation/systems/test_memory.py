"""The memory agent and its controls on a scripted model: who knows what, and that writing never sees a question."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.records import Outputs, Reply
from personamem_pipeline.evaluation.source import Batch, Source
from personamem_pipeline.evaluation.systems.base import Named
from personamem_pipeline.evaluation.systems.context import FullContext, NoHistory, PersonaOnly
from personamem_pipeline.evaluation.systems.memory import MemorySystem, Oracle, SwappedHistory
from personamem_pipeline.memory.generators.scripted import ScriptedGenerator
from personamem_pipeline.memory.prompts import parse_choice
from personamem_pipeline.presets import MemoryConfig
from tests.evaluation.conftest import asked_as, person, source_of

Model = Callable[[float], ScriptedGenerator]


def own(name: str, open: bool = False) -> Named:
    return Named(name, name, "model", open)


@pytest.fixture
def batch(source: Source) -> Batch:
    return next(source.batches())


def right(batch: Batch, outputs: Outputs, moment: str = "end") -> list[bool]:
    """Which replies with options are right, in order."""
    rows = [row for row in outputs.replies if row.order is not None and row.moment == moment]
    items = [asked_as(batch, row) for row in rows]
    return [parse_choice(row.output, item.options) == item.right for row, item in zip(rows, items, strict=True)]


def test_a_perfect_writer_is_always_right_and_forgets(batch: Batch, model: Model, memory: MemoryConfig) -> None:
    outputs = MemorySystem(own("grpo"), model(1.0), memory).run(batch)
    assert right(batch, outputs) == [True] * 24
    assert right(batch, outputs, "before_forget") == [True] * 6, "it knew what it was later asked to forget"
    assert {step.subject for step in outputs.steps} == {"b000", "b001", "b002"}
    last = max((s for s in outputs.steps if s.subject == "b000"), key=lambda step: step.index)
    assert "books" not in last.memory and last.memory_tokens == len(last.memory.split())


def test_who_forgets_nothing_and_who_never_knew_are_told_apart(
    batch: Batch, model: Model, memory: MemoryConfig
) -> None:
    knows_nothing = MemorySystem(own("base"), model(0.0), memory).run(batch)
    assert right(batch, knows_nothing) == [False, False, False, False, False, False, True, True] * 3
    assert right(batch, knows_nothing, "before_forget") == [False] * 6


def test_no_writing_prompt_holds_a_question(batch: Batch, model: Model, memory: MemoryConfig) -> None:
    generator = model(1.0)
    MemorySystem(own("grpo"), generator, memory).run(batch)
    writing = [prompt for prompt in generator.prompts if prompt.startswith("What does the user like?")]
    assert writing and not any("today?" in prompt or "You could try" in prompt for prompt in writing)


def test_open_answers_come_beside_the_choices(batch: Batch, model: Model, memory: MemoryConfig) -> None:
    outputs = MemorySystem(own("grpo", open=True), model(1.0), memory).run(batch)
    spoken = [row for row in outputs.replies if row.order is None]
    assert [row.question_id for row in spoken] == [question.question_id for question in batch.questions]
    assert spoken[0].output.endswith(batch.questions[0].correct_answer)


def test_another_persons_memory_misleads(batch: Batch, model: Model, memory: MemoryConfig) -> None:
    whole = MemorySystem(own("grpo"), model(1.0), memory).run(batch)
    swapped = SwappedHistory(own("swapped"), model(1.0), memory, lambda _: whole.steps).run(batch)
    assert right(batch, swapped) == [False, False, False, False, False, False, True, True] * 3
    assert not swapped.steps


def test_nobody_to_swap_with_is_refused(model: Model, memory: MemoryConfig) -> None:
    alone = next(source_of([person(0)]).batches())
    with pytest.raises(UserError, match="two persons"):
        SwappedHistory(own("swapped"), model(1.0), memory, lambda _: ()).run(alone)


def test_the_oracle_reads_only_evidence(batch: Batch, model: Model, memory: MemoryConfig) -> None:
    generator = model(1.0)
    outputs = Oracle(own("oracle"), generator, memory).run(batch)
    assert right(batch, outputs) == [True] * 24
    assert {turn for step in outputs.steps for turn in step.turns} == {
        turn for question in batch.questions for turn in question.evidence
    }


def test_evidence_that_is_not_in_the_history_is_refused(model: Model, memory: MemoryConfig) -> None:
    history, questions = person(0)
    astray = [questions[0].model_copy(update={"evidence": ("b000.s9.0",)}), *questions[1:]]
    batch = next(source_of([(history, astray), person(1)]).batches())
    with pytest.raises(UserError, match=r"not in the history: b000\.s9\.0"):
        Oracle(own("oracle"), model(1.0), memory).run(batch)


def test_the_whole_chat_is_read_for_every_question(batch: Batch, model: Model, memory: MemoryConfig) -> None:
    generator = model(1.0)
    config = memory.model_copy(update={"protocol": "full_context"})
    outputs = FullContext(own("full_context"), generator, config).run(batch)
    assert right(batch, outputs) == [True] * 24 and right(batch, outputs, "before_forget") == [True] * 6
    assert not outputs.steps
    assert right(batch, MemorySystem(own("grpo"), model(1.0), config).run(batch)) == [True] * 24


def test_without_a_history_there_is_no_way_to_know(batch: Batch, model: Model, memory: MemoryConfig) -> None:
    guessed = [False, False, False, False, False, False, True, True] * 3
    for protocol in ("memory", "full_context"):
        config = memory.model_copy(update={"protocol": protocol})
        assert right(batch, NoHistory(own("none"), model(1.0), config).run(batch)) == guessed
    generator = model(1.0)
    assert right(batch, PersonaOnly(own("persona"), generator, memory).run(batch)) == guessed
    assert all("- name: b00" in prompt for prompt in generator.prompts)


def test_a_prompt_over_the_context_is_not_asked(batch: Batch, model: Model, memory: MemoryConfig) -> None:
    generator = model(1.0)
    generator.context = 90  # the whole chat with its question has more words
    outputs = FullContext(own("full"), generator, memory.model_copy(update={"protocol": "full_context"})).run(batch)
    assert {row.problem for row in outputs.replies if row.moment == "end"} == {"over_long"}
    assert all(not row.output and not row.finished for row in outputs.replies if row.problem)
    short = memory.model_copy(update={"memory_tokens": 30})
    assert MemorySystem(own("grpo"), generator, short).run(batch).replies[0].problem == ""


def test_a_writing_prompt_over_the_context_is_refused(batch: Batch, model: Model, memory: MemoryConfig) -> None:
    generator = model(1.0)
    generator.context = 210
    with pytest.raises(UserError, match=r"up to \d+ tokens, the model's context is 210"):
        MemorySystem(own("grpo"), generator, memory).run(batch)


def test_the_same_batch_gives_the_same_rows(batch: Batch, model: Model, memory: MemoryConfig) -> None:
    first, second = (MemorySystem(own("grpo"), model(0.7), memory).run(batch) for _ in range(2))
    assert [Reply.model_validate(row) for row in first.replies] == list(second.replies)
    assert first.steps == second.steps
