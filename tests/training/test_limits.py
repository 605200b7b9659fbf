"""What the check before training promises: no turn of any rollout is longer, and what does not fit is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from personamem_pipeline.errors import UserError
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.presets import GrpoConfig, MemoryConfig, SftConfig
from personamem_pipeline.records import Message
from personamem_pipeline.training.grpo.curriculum import Item
from personamem_pipeline.training.grpo.limits import check_budgets, chunk_histories, most_chunks
from personamem_pipeline.training.grpo.rollouts import PolicyGenerator, Sampled, run_rollouts
from personamem_pipeline.training.tokenizer import build_tokenizer
from tests.training.conftest import MEMORY, TEXTS, chat, question

LONG = 100_000
ASKED = [
    Item(question(0), {"a": "You could try green tea.", "b": "Try cola.", "c": "Try milk.", "d": "Try wine."}, "a"),
    Item(question(0), None, None),
]


def longest_rollout(messages: list[Message], memory: MemoryConfig, renderer: Renderer) -> int:
    """The longest turn of a rollout in which the model writes until its cap cuts it, the memory being full each time."""
    seen: list[int] = []

    def sample(rows: list[list[int]], max_tokens: int, temperature: float, seed: int) -> Sampled:
        seen.extend(len(row) + max_tokens for row in rows)
        full = [*renderer.completion_ids("tea " * 400)[: max_tokens - 1], renderer.eos_id]
        return [full for _ in rows], None

    run_rollouts(
        [[item] for item in ASKED], [messages for _ in ASKED], PolicyGenerator(renderer, sample), memory,
        temperature=1.0, seed=0,
    )  # fmt: skip
    return max(seen)


@pytest.mark.parametrize("protocol", ["memory", "full_context"])
@pytest.mark.parametrize("prompts", ["compact", "full"])
@settings(max_examples=15, deadline=None)
@given(words=st.lists(st.lists(st.sampled_from(TEXTS[0].split()), min_size=1, max_size=30), min_size=1, max_size=6))
def test_no_turn_is_longer_than_told(protocol: str, prompts: str, words: list[list[str]]) -> None:
    renderer = Renderer(build_tokenizer(TEXTS))
    messages = [Message(turn_id=f"m{i}", role="user", content=" ".join(own)) for i, own in enumerate(words)]
    memory = MEMORY.model_copy(update={"protocol": protocol, "prompts": prompts, "memory_tokens": 40})
    told = check_budgets({"t0": messages}, ASKED, renderer, memory, LONG)
    real = longest_rollout(messages, memory, renderer)
    assert real <= told
    slack = renderer.count("none") + 2 + len(messages)  # the empty memory's word, the end token, joined messages
    assert told <= real + slack, "a bound far above what comes up refuses what would work"


def test_a_chunk_that_does_not_fit_is_named(renderer: Renderer) -> None:
    histories = {"t0": chat(0, 1), "t1": chat(1, 60)}
    big = MEMORY.model_copy(update={"chunk_tokens": 150})
    told = check_budgets(histories, ASKED, renderer, big, LONG)
    assert check_budgets(histories, ASKED, renderer, big, told) == told
    with pytest.raises(UserError, match=rf"t1, chunk \d: .* {told} tokens, the model has room for {told - 1}") as error:
        check_budgets(histories, ASKED, renderer, big, told - 1)
    assert "memory.chunk_tokens" in error.value.remedy
    assert sum(int(word) for word in error.value.expected.split("<=")[0].split() if word.isdigit()) == told


def test_a_message_over_the_chunk_budget_is_named(renderer: Renderer) -> None:
    messages = [*chat(0, 2), Message(turn_id="t0.huge", role="user", content="green tea " * 60)]
    with pytest.raises(UserError, match=r"t0, chunk \d: message t0.huge alone is over memory.chunk_tokens"):
        check_budgets({"t0": messages}, ASKED, renderer, MEMORY, 100)


def test_a_question_that_does_not_fit_is_named(renderer: Renderer) -> None:
    asked = question(0).model_copy(update={"user_query": "What could I drink? " * 40})
    with pytest.raises(UserError, match=r"question t0.q0: .* tokens, the model has room for 100"):
        check_budgets({"t0": chat(0, 1)}, [Item(asked, None, None)], renderer, MEMORY, 100)


def test_a_whole_chat_that_does_not_fit_is_named(renderer: Renderer) -> None:
    full = MEMORY.model_copy(update={"protocol": "full_context"})
    with pytest.raises(UserError, match=r"t0's whole chat and question t0.q0") as error:
        check_budgets({"t0": chat(0, 60)}, ASKED, renderer, full, 200)
    assert "memory.protocol" in error.value.remedy
    assert most_chunks({"t0": chat(0, 60)}, renderer.count, full) == 0


def test_more_memory_needs_more_room(renderer: Renderer) -> None:
    histories = {"t0": chat(0, 4)}
    told = [
        check_budgets(histories, ASKED, renderer, MEMORY.model_copy(update={"memory_tokens": tokens}), None)
        for tokens in (100, 101)
    ]
    assert told[1] == told[0] + 2, "once in the prompt, once as the reply"


def test_the_longest_history_counts(renderer: Renderer) -> None:
    histories = {"t0": chat(0, 1), "t1": chat(1, 4)}
    chunks = most_chunks(histories, renderer.count, MEMORY)
    assert chunks > 1
    with pytest.raises(UserError, match=rf"t1's history has {chunks} chunks, memory.max_chunks is {chunks - 1}"):
        most_chunks(histories, renderer.count, MEMORY.model_copy(update={"max_chunks": chunks - 1}))


def test_histories_are_cut_once(renderer: Renderer) -> None:
    counted: list[str] = []

    def count(text: str) -> int:
        counted.append(text)
        return renderer.count(text)

    histories = {"t0": chat(0, 4)}
    chunked = chunk_histories(histories, count, MEMORY)
    assert len(counted) == 4
    assert most_chunks(histories, count, MEMORY, chunked=chunked) == len(chunked["t0"])
    shared = check_budgets(histories, ASKED, renderer, MEMORY, None, chunked=chunked)
    assert len(counted) == 4
    assert shared == check_budgets(histories, ASKED, renderer, MEMORY, None)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (SftConfig, {"batch_size": 6, "processes": 4}),
        (SftConfig, {"batch_size": 8, "processes": 2, "micro_batch_rows": 3}),
        (GrpoConfig, {"prompts_per_step": 4, "questions_per_memory": 2, "processes": 4}),
    ],
)
def test_rows_that_do_not_divide_are_refused(section: type[Any], values: dict[str, int]) -> None:
    base: dict[str, Any] = {"steps": 1, "learning_rate": 1e-3}
    if section is GrpoConfig:
        base |= {"rollouts": 2, "micro_batch_rows": 2}
    with pytest.raises(ValidationError, match="must be a multiple of"):
        section(**base, **values)
