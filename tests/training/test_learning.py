"""It learns: credit reaches write turns, and a memory that has to be written and read improves from an SFT start.

Words are copied from chat to memory to answer, so a model of some thousand weights can learn it in seconds; weights, seeds
and draws are fixed. The starts are taught, not random: from random weights the two-stage task is a signalling game with a
constant answer as its local optimum, and stays at chance for hundreds of steps whatever the trainer does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import PrinterCallback, Qwen3Config, Qwen3ForCausalLM

from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.prompts import answer_prompt, prompt_texts, write_prompt
from personamem_pipeline.presets import GrpoConfig, MemoryConfig
from personamem_pipeline.progress import Progress
from personamem_pipeline.records import History, Message, Session
from personamem_pipeline.seeds import rng
from personamem_pipeline.training.grpo.curriculum import Item
from personamem_pipeline.training.grpo.options import trl_config
from personamem_pipeline.training.grpo.trainer import MemoryGRPOTrainer
from personamem_pipeline.training.rewards.records import AnswerReward
from personamem_pipeline.training.supervised import FitConfig, TrainRow, fit
from personamem_pipeline.training.tokenizer import build_tokenizer
from tests.training.conftest import question

pytestmark = pytest.mark.slow

SYMBOLS = ("tea", "wine", "cola", "milk")
SMALL_TALK = ("well then", "so it goes", "good day")
QUERY = "what now?"
MEMORY = MemoryConfig(prompts="compact", chunk_tokens=7, max_chunks=2, memory_tokens=3, answer_tokens=3)
WORDS = (*SYMBOLS, *SMALL_TALK, QUERY, "user: I like", prompt_texts("compact"), "Chat", "Merge", "List", "none")
RENDERER = Renderer(build_tokenizer(WORDS))
WRITES = 2

Pays = Callable[[Item, Generation], float]


def messages(person: int) -> tuple[Message, Message]:
    """Two chunks: the first says what the person likes, the second nothing."""
    texts = (f"I like\n{SYMBOLS[person % len(SYMBOLS)]}", SMALL_TALK[person % len(SMALL_TALK)])
    first, second = (Message(turn_id=f"t{person}.m{i}", role="user", content=text) for i, text in enumerate(texts))
    return first, second


def history(person: int) -> History:
    session = Session(
        session_id=f"t{person}.s0", person_id=f"t{person}", time="2025-03-01T18:40", conversation_type="chat_message",
        event="small_talk", preference=None, wording="seen", messages=messages(person), evidence=(), author="test",
    )  # fmt: skip
    return History(person_id=f"t{person}", split="training", sessions=(session,), tokens=9, tokenizer="words")


def items(people: int, steps: int) -> list[Item]:
    """Every person in every step, asked an open question whose right answer is what they like."""
    asked = [
        question(person).model_copy(update={"user_query": QUERY, "correct_answer": SYMBOLS[person % len(SYMBOLS)]})
        for person in range(people)
    ]
    return [Item(one, None, None) for _ in range(steps) for one in asked]


def taught(rows: Sequence[tuple[str, str]], steps: int, path: Path) -> Any:
    """A tiny model after `steps` of supervised training on (prompt, reply) rows."""
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(RENDERER.tokenizer), tie_word_embeddings=True, hidden_size=32, intermediate_size=64,
            num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, head_dim=16, max_position_embeddings=128,
            initializer_range=0.1,  # a small model copies tokens sooner when their embeddings differ from the start
        )
    ).float()  # fmt: skip
    config = FitConfig(
        steps=steps, batch_size=32, learning_rate=3e-3, warmup_share=0.05, max_grad_norm=1.0, save_steps=10**6, seed=0
    )
    tokens = [TrainRow(tuple(RENDERER.prompt_ids(a)), tuple(RENDERER.completion_ids(b))) for a, b in rows]
    fit(model, RENDERER.tokenizer, tokens, config, path, Progress())
    return model


def learn(model: Any, pays: Pays, path: Path, *, people: int, steps: int, seed: int = 1) -> list[float]:
    """The mean reward of each optimizer step, as sampled."""
    config = GrpoConfig(
        steps=steps, prompts_per_step=people, rollouts=16, micro_batch_rows=16 * people, learning_rate=5e-3,
        open_share=1.0, mask_overlong=False, seed=seed, save_steps=10**6,
    )  # fmt: skip

    def rewards(asked: Sequence[Item], answers: Sequence[Generation]) -> list[AnswerReward]:
        paid = [pays(item, answer) for item, answer in zip(asked, answers, strict=True)]
        return [AnswerReward({"open_ended": value}, value) for value in paid]

    curriculum = items(people, steps)
    trainer = MemoryGRPOTrainer(
        model=model.train(),
        args=trl_config(config, path, WRITES, {}),
        train_dataset=Dataset.from_list([{"prompt": QUERY, "item": i} for i in range(len(curriculum))]),
        items=curriculum,
        histories={f"t{person}": history(person) for person in range(people)},
        memory=MEMORY,
        config=config,
        renderer=RENDERER,
        rewards=rewards,
        most_writes=WRITES,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    assert {len(rollout.turns) for rollout in trainer.rollouts} == {WRITES}, "noted, then carried past the small talk"
    return [line["reward"] for line in trainer.state.log_history if "reward" in line]


def noisy(right: str, draw: Random, chance: float) -> str:
    return right if draw.random() < chance else draw.choice(SYMBOLS)


def lessons(chance: float, count: int = 2000) -> list[tuple[str, str]]:
    """Write and answer turns whose target is the symbol in the prompt with `chance`, else any symbol."""
    draw, rows = rng(0, "lessons", chance), []
    for number in range(count):
        symbol, (first, second) = SYMBOLS[number % 4], messages(number)
        prompt = draw.choice(
            [
                write_prompt(MEMORY, [first], ""),
                write_prompt(MEMORY, [second], symbol),
                answer_prompt(MEMORY, symbol, QUERY, None),
            ]
        )
        rows.append((prompt, noisy(symbol, draw, chance)))
    return rows


def test_the_memory_only_bandit_is_solved(tmp_path: Path) -> None:
    """The answer is paid for what stands in the memory it was given: only write turns can earn it."""

    def in_memory(item: Item, answer: Generation) -> float:
        memory = RENDERER.text(list(answer.prompt_ids)).partition("List:\n")[2].partition("\n")[0]
        return float(memory == "wine")

    model = taught(lessons(0.0), 80, tmp_path / "sft")
    rewards = learn(model, in_memory, tmp_path / "grpo", people=2, steps=32)
    assert rewards[0] < 0.5, "at chance, which is a quarter"
    assert sum(rewards[-5:]) / 5 > 0.9


def test_a_memory_that_must_be_written_and_read_is_learned_from_an_imperfect_start(tmp_path: Path) -> None:
    def named(item: Item, answer: Generation) -> float:
        return float(answer.finished and answer.text == item.question.correct_answer)

    model = taught(lessons(0.6), 200, tmp_path / "sft")
    rewards = learn(model, named, tmp_path / "grpo", people=4, steps=32)
    assert 0.25 < rewards[0] < 0.65, "right by three steps of which each fails now and then"
    assert sum(rewards[-5:]) / 5 > 0.9
