"""Targets from a teacher: only what the labels accept, one draw per candidate, never a dead run for one bad reply."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.errors import Refused, UserError
from personamem_pipeline.llm.client import Endpoint, Prompt
from personamem_pipeline.memory.chunking import chunk_messages
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.prompts import EMPTY, parse_choice, without_thinking
from personamem_pipeline.presets import MemoryConfig, SftConfig
from personamem_pipeline.progress import Progress
from personamem_pipeline.questions.options import lettered
from personamem_pipeline.training.labels import chunk_labels
from personamem_pipeline.training.targets import AnswerTask, Task, WriteTask, deciding_line, ideal_turns
from personamem_pipeline.training.teacher import (
    TARGETS,
    ChoiceReply,
    MemoryReply,
    ask,
    choice_target,
    memory_target,
    prompt,
    taught_targets,
)
from tests.rooms import rooms, simulator

CONFIG = MemoryConfig(prompts="full", chunk_tokens=60, max_chunks=99, memory_tokens=400, answer_tokens=200)
THINKING = CONFIG.model_copy(update={"reasoning": True})
SFT = SftConfig(steps=1, batch_size=1, learning_rate=1e-3, targets="teacher", teacher_samples=2)


@cache
def write_tasks() -> list[WriteTask]:
    tasks = []
    for history in rooms().histories:
        chunks = tuple(chunk_messages(history.messages, 60, lambda text: len(text.split())))
        tasks += [WriteTask(history, chunks, n, turn) for n, turn in enumerate(ideal_turns(history, chunks))]
    return tasks


@cache
def answer_tasks(*, chat: bool = False) -> list[AnswerTask]:
    finals = {task.history.person_id: task.turn.after for task in write_tasks()}
    chats = {history.person_id: history.messages for history in rooms().histories}
    return [
        AnswerTask(q, chats[q.person_id] if chat else finals[q.person_id], *lettered(q, 0), 0)
        for q in rooms().questions
    ]


def some_tasks() -> list[Task]:
    return [*write_tasks()[:40], *answer_tasks()[:40]]


@pytest.mark.parametrize("config", [CONFIG, THINKING], ids=["plain", "thinking"])
def test_the_simulator_teaches_most_turns_and_is_rejected_now_and_then(
    config: MemoryConfig, renderer: Renderer
) -> None:
    generous = config.model_copy(update={"memory_tokens": 4000, "answer_tokens": 4000})  # the tiny tokenizer spells
    one, four = (
        ask(some_tasks(), simulator(), generous, SFT.model_copy(update={"teacher_samples": n}), renderer, Progress())
        for n in (1, 4)
    )
    assert one.fell_back + len(one.targets) == four.fell_back + len(four.targets) == len(some_tasks())
    assert four.fell_back < one.fell_back < len(some_tasks()) / 2
    assert one.targets.items() <= four.targets.items()  # the first good candidate is taken
    for target in four.targets.values():
        assert target.startswith("<think>") == config.reasoning
    for task in answer_tasks()[:40]:
        if task.key in four.targets:
            assert parse_choice(four.targets[task.key], task.options or {}) == task.letter


def test_a_target_over_its_cap_is_no_target(renderer: Renderer) -> None:
    tasks: list[Task] = [task for task in some_tasks() if isinstance(task, AnswerTask) or task.turn.after != EMPTY]
    config = CONFIG.model_copy(update={"memory_tokens": 4, "answer_tokens": 4000})
    taught = ask(tasks, simulator(), config, SFT, renderer, Progress())
    assert taught.targets and not any(" write " in key for key in taught.targets)


def test_candidates_differ_even_with_a_response_cache(tmp_path: Path) -> None:
    cached = replace(simulator(), cache=tmp_path / "cache.sqlite")
    task = max(write_tasks(), key=lambda task: len(task.turn.after))
    replies = cached.map([prompt(task, CONFIG, number, 0) for number in range(12)])
    assert cached.usage.calls == 12 and cached.usage.cached == 0
    assert len({reply.memory for reply in replies if isinstance(reply, MemoryReply)}) > 1
    again = replace(simulator(), cache=tmp_path / "cache.sqlite")
    assert again.map([prompt(task, CONFIG, number, 0) for number in range(12)]) == replies
    assert again.usage.cached == 12


def informative() -> WriteTask:
    """A turn that brings news to a memory that has something already."""
    return next(
        task for task in write_tasks() if task.turn.before not in ("", EMPTY) and " shows " in task.turn.thought
    )


def test_a_memory_must_hold_all_in_lines_and_nothing_forbidden() -> None:
    task = informative()
    labels = chunk_labels(task.history, task.chunks)[task.number]
    good = task.turn.after
    secret = "K99-111"
    planted = task.history.sessions[0].model_copy(
        update={
            "preference": rooms()
            .personas[0]
            .preferences[0]
            .model_copy(update={"pref_type": "sensitive_info", "text": secret})
        }
    )
    private = replace(task, history=task.history.model_copy(update={"sessions": (*task.history.sessions, planted)}))
    verdicts = {
        good: good,
        f"{good}\n\n{good}\n": good,  # a memory says a thing once
        f"<think>hm</think>{good}": good,
        "\n".join(good.splitlines()[1:]) or EMPTY: None,  # loses the news
        good.replace("- ", ""): None,
        good + "\nand much more": None,
        "": None,
        EMPTY: None,
        "\n".join([good, *(f"- topic {n}: thing" for n in range(50))]): None,
    }
    for memory, target in verdicts.items():
        assert memory_target(task, MemoryReply(reasoning="why", memory=memory), labels, CONFIG) == target
    leak = MemoryReply(reasoning="why", memory=f"{good}\n- door code: {secret}")
    assert memory_target(task, leak, labels, CONFIG) is not None
    assert memory_target(private, leak, labels, CONFIG) is None
    thinking = memory_target(task, MemoryReply(reasoning="</think>", memory=good), labels, THINKING)
    assert thinking is not None and without_thinking(thinking).strip() == good


def test_what_was_to_be_forgotten_is_no_target() -> None:
    task = next(task for task in write_tasks() if "its line goes" in task.turn.thought)
    labels = chunk_labels(task.history, task.chunks)[task.number]
    kept = MemoryReply(
        reasoning="", memory=f"{task.turn.after}\n- it: {labels.forbidden[0]}".removeprefix(f"{EMPTY}\n")
    )
    assert memory_target(task, kept, labels, CONFIG) is None
    assert memory_target(task, MemoryReply(reasoning="", memory=task.turn.after), labels, CONFIG) == task.turn.after


@pytest.mark.parametrize("chat", [False, True], ids=["memory", "chat"])
def test_a_choice_must_be_right_for_a_reason(chat: bool) -> None:
    task = next(t for t in answer_tasks(chat=chat) if deciding_line(t.question, t.known) != EMPTY)
    assert task.letter is not None
    quote = deciding_line(task.question, task.known)
    right = ChoiceReply(reasoning="why", quote=quote, letter=f"({task.letter.upper()})")
    target = choice_target(task, right, CONFIG)
    assert target is not None and target.startswith(quote) and parse_choice(target, task.options or {}) == task.letter
    wrong = next(letter for letter in "abcd" if letter != task.letter)
    for other in ({"letter": wrong}, {"letter": ""}, {"quote": EMPTY}, {"quote": "- made: up"}, {"quote": ""}):
        assert choice_target(task, right.model_copy(update=other), CONFIG) is None


class Mute(Endpoint):
    """An endpoint that refuses every row but some; the transport's own tests show how a row comes to be refused."""

    spoken: frozenset[str] = frozenset()

    def map(self, prompts: Sequence[Prompt[Any]], on_progress: Any = None) -> list[Any]:
        replies = super().map(prompts, on_progress)
        return [
            r if p.key in self.spoken else Refused(p.key, "declined: no") for p, r in zip(prompts, replies, strict=True)
        ]


def test_a_refused_candidate_is_one_that_will_not_do(renderer: Renderer) -> None:
    config = CONFIG.model_copy(update={"memory_tokens": 4000, "answer_tokens": 4000})
    whole = ask(some_tasks(), simulator(), config, SFT, renderer, Progress())
    key = next(iter(whole.targets))
    endpoint = Mute(base_url=None, model="simulator/1", api_key=None)
    with pytest.raises(UserError, match="declined: no"):
        ask(some_tasks(), endpoint, config, SFT, renderer, Progress())
    endpoint.spoken = frozenset(f"{key} {number}" for number in range(2))
    taught = ask(some_tasks(), endpoint, config, SFT, renderer, Progress())
    assert taught.targets == {key: whole.targets[key]} and taught.fell_back == len(some_tasks()) - 1


def test_a_resumed_run_goes_on_with_the_same_targets(renderer: Renderer, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"memory_tokens": 4000, "answer_tokens": 4000})
    first = taught_targets(some_tasks(), simulator(), config, SFT, renderer, tmp_path, Progress())
    assert json.loads((tmp_path / TARGETS).read_text())["targets"] == first.targets
    mute = Mute(base_url=None, model="simulator/1", api_key=None)
    assert taught_targets(some_tasks(), mute, config, SFT, renderer, tmp_path, Progress()) == first


def test_of_several_processes_the_first_asks(renderer: Renderer, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"memory_tokens": 4000, "answer_tokens": 4000})
    mute = Mute(base_url=None, model="simulator/1", api_key=None)
    with ThreadPoolExecutor() as pool:
        other = pool.submit(taught_targets, some_tasks(), mute, config, SFT, renderer, tmp_path, Progress(1, 2))
        first = taught_targets(some_tasks(), simulator(), config, SFT, renderer, tmp_path, Progress(0, 2))
        assert other.result(timeout=30) == first
