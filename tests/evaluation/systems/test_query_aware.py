"""The released form of writing: with the question in sight, without it, and nothing else different between the two."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.asked import ask, asked
from personamem_pipeline.evaluation.source import Batch, Source
from personamem_pipeline.evaluation.systems.base import Named, batch_seed, write
from personamem_pipeline.evaluation.systems.memory import MemorySystem
from personamem_pipeline.evaluation.systems.query_aware import (
    QueryAware,
    QueryBlind,
    problem,
    prompt_texts,
    replaced,
    writing_prompt,
)
from personamem_pipeline.memory.generators.base import Generation
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
        lines = re.findall(r"^- .+$", prompt.partition("\nOld list:\n")[2], re.MULTILINE)
        lines += [f"- {topic}: {like}" for topic, like in re.findall(r"My (\w+) is (\w+ \w+) as", prompt)]
        wanted = [line for line in lines if line.startswith(f"- {asked_topic(prompt)}:")]
        return (wanted or lines or ["none"])[-1]
    line = re.search(r"- (\w+): (.+)", prompt)
    topic = re.search(r"Which (\w+) today", prompt)
    if not line or not topic or line[1] != topic[1]:
        return "none"
    letter = re.search(rf"You could try {line[2]}\. \((\w)\)", prompt)
    return boxed(letter[1]) if letter else "none"


def right(batch: Batch, system: MemorySystem | QueryAware | QueryBlind) -> int:
    answers = {(item.question.question_id, item.order): boxed(item.right) for item in asked(batch)}
    replies = [reply for reply in system.run(batch).replies if reply.moment == "end"]
    return sum(reply.output == answers[reply.question_id, reply.order] for reply in replies)


def test_a_model_with_little_room_gains_by_knowing_the_question(batch: Batch, memory: MemoryConfig) -> None:
    generator = ScriptedGenerator(room_for_one_line)
    blind = right(batch, QueryBlind(NAMED, generator, memory))
    leaking = right(batch, QueryAware(NAMED, generator, memory))
    assert blind == 0, "the last thing said is what is to be forgotten, and nobody is right with it"
    assert leaking == 3 * len(batch.people) * batch.orders, "all but the forget questions"


def test_one_memory_per_question_or_person_over_the_causal_chunks(batch: Batch, memory: MemoryConfig) -> None:
    generator = ScriptedGenerator(room_for_one_line)
    aware, blind = (system(NAMED, generator, memory).run(batch) for system in (QueryAware, QueryBlind))
    histories = {person.person_id: person.history.messages for person in batch.people}
    causal = [(step.subject, step.index, step.turns) for step in write(histories, generator, memory, batch_seed(batch))]
    assert [(step.subject, step.index, step.turns) for step in blind.steps] == causal
    assert [(step.subject, step.index, step.turns) for step in aware.steps] == [
        (question.question_id, index, turns)
        for question in batch.questions
        for subject, index, turns in causal
        if subject == question.person_id
    ]
    assert {reply.moment for reply in (*aware.replies, *blind.replies)} == {"end"}
    assert sum(s.input_tokens for s in aware.steps) > len(TOPICS) * sum(s.input_tokens for s in blind.steps)


TOPICS = ("drinks", "music", "sports", "books")


@pytest.mark.parametrize("style", ["compact", "full"])
def test_the_prompt_shows_problem_then_memory_then_section(batch: Batch, memory: MemoryConfig, style: str) -> None:
    """The released order, whatever the preset's own is."""
    config = memory.model_copy(update={"prompts": style, "order": "chunk_first"})
    aware, blind = (ScriptedGenerator(lambda prompt: "- drinks: what was noted") for _ in range(2))
    one = Batch(batch.index, batch.people[:1], batch.orders, batch.seed)
    QueryAware(NAMED, aware, config).run(one)
    QueryBlind(NAMED, blind, config).run(one)
    turns = [prompt for prompt in blind.prompts if "Which" not in prompt]
    assert len(turns) > 2 and all("what was noted" in turn for turn in turns[1:])
    for question in one.questions:
        seen = problem(config, question, batch.seed)
        assert question.user_query in seen
        assert all(seen.count(option) == 1 for option in question.options)
        assert not re.search(r"\([a-d]\)", seen), "no letters: one memory answers all orders"
        assert "{" not in seen
        own = [prompt for prompt in aware.prompts if seen in prompt]
        assert len(own) == len(turns)
        for prompt, turn in zip(own[1:], turns[1:], strict=True):
            assert re.search(
                rf"{re.escape(seen)}.*- drinks: what was noted.*^(user|assistant): ", prompt, re.DOTALL | re.M
            )
            assert prompt.partition(seen)[2] == turn[-len(prompt.partition(seen)[2]) :], "the rest is the same"


@pytest.mark.parametrize(("style", "nothing"), [("compact", "none"), ("full", "There is no memory yet.")])
def test_the_first_turn_says_that_there_is_no_memory(
    batch: Batch, memory: MemoryConfig, style: str, nothing: str
) -> None:
    config = memory.model_copy(update={"prompts": style})
    assert f"\n{nothing}\n" in writing_prompt(config, "", batch.people[0].history.messages, "")


def test_without_a_problem_nothing_of_it_is_said(batch: Batch, memory: MemoryConfig) -> None:
    config = memory.model_copy(update={"prompts": "full"})
    prompt = writing_prompt(config, "", batch.people[0].history.messages, "")
    assert "query" not in prompt and "answered later" not in prompt


def test_the_whole_reply_replaces_the_memory_cut_or_not() -> None:
    def reply(text: str, finished: bool = True) -> Generation:
        return Generation((), (), text, finished)

    assert replaced(reply("- a: b\n- a: b\n- c: d")) == "- a: b\n- a: b\n- c: d"
    assert replaced(reply("- a: b\n- c:", finished=False)) == "- a: b\n- c:", "cut at its cap, as the scripts leave it"
    assert replaced(reply("none")) == replaced(reply(" ")) == ""
    assert replaced(reply("<think>hm</think>\n- a: b")) == "- a: b"


def test_thoughts_are_asked_for_where_the_preset_does(batch: Batch, memory: MemoryConfig) -> None:
    config = memory.model_copy(update={"prompts": "full", "reasoning": True})
    assert "<think>" in problem(config, batch.questions[0], 0)
    assert "<think>" not in problem(config.model_copy(update={"reasoning": False}), batch.questions[0], 0)


def test_a_brace_in_a_text_is_text(batch: Batch, memory: MemoryConfig) -> None:
    config = memory.model_copy(update={"prompts": "full"})
    question = batch.questions[0].model_copy(update={"user_query": "What is {options} or {text}?"})
    question = question.model_copy(update={"correct_answer": "It is {query} {text}."})
    seen = problem(config, question, 0)
    assert "What is {options} or {text}?" in seen
    assert "- It is {query} {text}." in seen
    assert ask(question, 0, 0).options[ask(question, 0, 0).right] == "It is {query} {text}."
    message = batch.people[0].history.messages[0].model_copy(update={"content": "{chunk} {memory}"})
    assert "user: {chunk} {memory}" in writing_prompt(config, seen, [message], "- note: {chunk}")


@pytest.mark.parametrize("system", [QueryAware, QueryBlind])
def test_under_full_context_there_is_nothing_to_measure(
    system: Callable[..., object], memory: MemoryConfig, model: Callable[[float], ScriptedGenerator]
) -> None:
    config = memory.model_copy(update={"protocol": "full_context"})
    with pytest.raises(UserError, match="take query_aware out"):
        system(NAMED, model(1.0), config)


@pytest.mark.parametrize("system", [QueryAware, QueryBlind])
def test_a_prompt_over_the_context_is_refused(
    system: Callable[..., QueryAware | QueryBlind], batch: Batch, memory: MemoryConfig
) -> None:
    generator = ScriptedGenerator(lambda prompt: "none", context=40)
    with pytest.raises(UserError, match="the model's context is 40"):
        system(NAMED, generator, memory).run(batch)


def test_its_prompts_are_part_of_what_replies_are_kept_by() -> None:
    assert "{query}{options}" in prompt_texts("compact")
    assert prompt_texts("compact") != prompt_texts("full")
