"""Writing with the question in sight: one memory per question, and nothing else different from the causal writing."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.asked import asked
from personamem_pipeline.evaluation.source import Batch, Source
from personamem_pipeline.evaluation.systems.base import Named, batch_seed, write
from personamem_pipeline.evaluation.systems.memory import MemorySystem
from personamem_pipeline.evaluation.systems.query_aware import QueryAware, prompt_texts, question_seen
from personamem_pipeline.memory.generators.scripted import ScriptedGenerator
from personamem_pipeline.memory.prompts import boxed
from personamem_pipeline.presets import MemoryConfig

NAMED = Named("query_aware", "query-aware", "control")


@pytest.fixture
def batch(source: Source) -> Batch:
    return next(source.batches())


def asked_topic(prompt: str) -> str | None:
    found = re.search(r"Which (\w+) today", prompt.partition("What does the user like?")[0])
    return found[1] if found else None


def room_for_one_line(prompt: str) -> str:
    """A model that keeps one line only: what it is asked for where it knows, or else the last thing said."""
    if "What does the user like?" in prompt:
        memory = prompt.partition("\nOld list:\n")[2].removesuffix("\nMerge.")
        lines = [line for line in memory.splitlines() if line.startswith("- ")]
        lines += [f"- {topic}: {like}" for topic, like in re.findall(r"My (\w+) is (\w+ \w+) as", prompt)]
        wanted = [line for line in lines if line.startswith(f"- {asked_topic(prompt)}:")]
        return (wanted or lines or ["none"])[-1]
    line = re.search(r"- (\w+): (.+)", prompt)
    topic = re.search(r"Which (\w+) today", prompt)
    if not line or not topic or line[1] != topic[1]:
        return "none"
    letter = re.search(rf"You could try {line[2]}\. \((\w)\)", prompt)
    return boxed(letter[1]) if letter else "none"


def right(batch: Batch, system: MemorySystem | QueryAware) -> int:
    answers = {(item.question.question_id, item.order): boxed(item.right) for item in asked(batch)}
    replies = [reply for reply in system.run(batch).replies if reply.moment == "end"]
    return sum(reply.output == answers[reply.question_id, reply.order] for reply in replies)


def test_a_model_with_little_room_gains_by_knowing_the_question(batch: Batch, memory: MemoryConfig) -> None:
    generator = ScriptedGenerator(room_for_one_line)
    causal = right(batch, MemorySystem(NAMED, generator, memory))
    leaking = right(batch, QueryAware(NAMED, generator, memory))
    assert causal == 0, "the last thing said is what is to be forgotten, and nobody is right with it"
    assert leaking == 3 * len(batch.people) * batch.orders, "all but the forget questions"


def test_one_memory_per_question_over_the_causal_chunks(batch: Batch, memory: MemoryConfig) -> None:
    generator = ScriptedGenerator(room_for_one_line)
    outputs = QueryAware(NAMED, generator, memory).run(batch)
    histories = {person.person_id: person.history.messages for person in batch.people}
    causal = write(histories, generator, memory, batch_seed(batch))
    for question in batch.questions:
        own = [step for step in outputs.steps if step.subject == question.question_id]
        plain = [step for step in causal if step.subject == question.person_id]
        assert [(step.index, step.turns) for step in own] == [(step.index, step.turns) for step in plain]
    assert {step.subject for step in outputs.steps} == {question.question_id for question in batch.questions}
    assert {reply.moment for reply in outputs.replies} == {"end"}
    assert sum(s.input_tokens for s in outputs.steps) > len(TOPICS) * sum(s.input_tokens for s in causal)


TOPICS = ("drinks", "music", "sports", "books")


@pytest.mark.parametrize("style", ["compact", "full"])
@pytest.mark.parametrize("order", ["chunk_first", "memory_first"])
def test_the_prompt_is_the_causal_one_with_the_question_in_front(
    batch: Batch, memory: MemoryConfig, style: str, order: str
) -> None:
    config = memory.model_copy(update={"prompts": style, "order": order})
    aware, causal = ScriptedGenerator(lambda prompt: "none"), ScriptedGenerator(lambda prompt: "none")
    one = Batch(batch.index, batch.people[:1], batch.orders, batch.seed)
    QueryAware(NAMED, aware, config).run(one)
    MemorySystem(NAMED, causal, config).run(one)
    written = [prompt for prompt in causal.prompts if "Which" not in prompt]
    for question in one.questions:
        seen = question_seen(style, question, batch.seed)
        assert question.user_query in seen
        assert all(seen.count(option) == 1 for option in question.options)
        assert not re.search(r"\([a-d]\)", seen), "no letters: one memory answers all orders"
        assert "{" not in seen
        assert [prompt.removeprefix(seen) for prompt in aware.prompts if prompt.startswith(seen)] == written


def test_a_brace_in_a_question_is_text(batch: Batch) -> None:
    question = batch.questions[0].model_copy(update={"user_query": "What is {options} or {text}?"})
    question = question.model_copy(update={"correct_answer": "It is {query} {text}."})
    seen = question_seen("full", question, 0)
    assert "What is {options} or {text}?" in seen
    assert "- It is {query} {text}." in seen


def test_under_full_context_there_is_nothing_to_measure(
    memory: MemoryConfig, model: Callable[[float], ScriptedGenerator]
) -> None:
    config = memory.model_copy(update={"protocol": "full_context"})
    with pytest.raises(UserError, match="take query_aware out"):
        QueryAware(NAMED, model(1.0), config)


def test_its_prompts_are_part_of_what_replies_are_kept_by() -> None:
    assert "{query}{options}" in prompt_texts("compact")
    assert prompt_texts("compact") != prompt_texts("full")
