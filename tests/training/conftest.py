"""A tiny random policy, some persons and questions to train it on."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.presets import GrpoConfig, MemoryConfig
from personamem_pipeline.records import Certificate, History, Message, Preference, Question, Session
from personamem_pipeline.training.grpo.curriculum import Item, curriculum
from personamem_pipeline.training.rewards.records import AnswerReward
from personamem_pipeline.training.tokenizer import build_tokenizer

TEXTS = ["user: I left my bamboo whisk.\n- drinks: green tea\n(a) You could try green tea. \\boxed{a} b c d none"]
MEMORY = MemoryConfig(prompts="compact", chunk_tokens=12, max_chunks=4, memory_tokens=6, answer_tokens=4)


def question(number: int, index: int = 0) -> Question:
    return Question(
        question_id=f"t{number}.q{index}", person_id=f"t{number}", split="training", user_query="What could I drink?",
        correct_answer="You could try green tea.", incorrect_answers=("You could try wine.", "Try cola.", "Try milk."),
        incorrect_kinds=("other", "other", "generic"),
        topic="drinks", preference="green tea", preference_id=f"t{number}.p0", pref_type="neutral_preferences",
        who="self", updated=False, prev_pref="", conversation_scenario="personal_email", wording="seen",
        evidence=(f"t{number}.m0",), author="test",
        certificate=Certificate(
            readers=("test",), blind_accuracy=0.25, blind_by_reader=(0.25,), oracle_accuracy=1.0,
            update_accuracy=None, swapped_accuracy=0.25, query_leak=False, implicitness=1.0,
            longest_guess=0.0, shortest_guess=0.0, admitted=True, reasons=(),
        ),
    )  # fmt: skip


def chat(number: int, turns: int) -> list[Message]:
    texts = ["I left my bamboo whisk.", "green tea, none", "my whisk I left", "bamboo tea"]
    return [Message(turn_id=f"t{number}.m{i}", role="user", content=texts[i % 4]) for i in range(turns)]


def history(number: int, turns: int) -> History:
    """A chat whose first turn gives green tea away."""
    messages = tuple(chat(number, turns))
    preference = Preference(
        preference_id=f"t{number}.p0", topic="drinks", text="green tea", pref_type="neutral_preferences"
    )
    session = Session(
        session_id=f"t{number}.s0", person_id=f"t{number}", time="2025-03-01T18:40",
        conversation_type="personal_email", event="reveals", preference=preference, wording="seen",
        messages=messages, evidence=tuple(message.turn_id for message in messages[:1]), author="test",
    )  # fmt: skip
    return History(person_id=f"t{number}", split="training", sessions=(session,), tokens=9 * turns, tokenizer="words")


@pytest.fixture
def renderer() -> Renderer:
    return Renderer(build_tokenizer(TEXTS))


def make_policy(renderer: Renderer) -> Any:
    """The same random model each time."""
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    vocabulary = len(renderer.tokenizer)
    return Qwen3ForCausalLM(Qwen3Config(vocab_size=vocabulary, tie_word_embeddings=True, **size, **heads)).float()


@pytest.fixture
def policy(renderer: Renderer) -> Callable[[], Any]:
    """A function that makes the same random model each time."""
    return lambda: make_policy(renderer)


@pytest.fixture
def items() -> list[Item]:
    config = GrpoConfig(
        steps=2, prompts_per_step=2, rollouts=4, micro_batch_rows=4, learning_rate=1e-3, open_share=0.5, seed=3
    )
    return curriculum([question(number) for number in range(3)], config)


@pytest.fixture
def two_of_one_person() -> list[Item]:
    config = GrpoConfig(
        steps=1, prompts_per_step=2, questions_per_memory=2, rollouts=4, micro_batch_rows=4, learning_rate=1e-3,
        open_share=0.5, seed=3,
    )  # fmt: skip
    items = curriculum([question(0), question(0, 1)], config)
    return sorted(items, key=lambda item: item.question.question_id)


def worth(text: str) -> float:
    """Something that differs between rollouts: the share of one letter in the answer's text."""
    return text.count("e") / 7 + len(text) / 50


def pay(items: Sequence[Item], answers: Sequence[Generation]) -> list[AnswerReward]:
    return [AnswerReward({"choice": worth(answer.text)}, worth(answer.text)) for answer in answers]
