"""What the parts of `benchmarks.grpo` are made of: a policy, chats of an exact length, a trainer, clocks.

Policies have the shape of models/tiny-base with random weights. Chats are drawn from the tokenizer's own words, so that a
message is as many tokens as it should be; `written` are the demo preset's persons, for where the text matters.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch
from datasets import Dataset
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback

from personamem_pipeline.conversations.histories import assemble_all
from personamem_pipeline.conversations.sessions import write_sessions
from personamem_pipeline.llm.client import Endpoint
from personamem_pipeline.memory.chunking import chunk_messages
from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.personas.seeds import draw_seeds
from personamem_pipeline.personas.write import write_personas
from personamem_pipeline.presets import GrpoConfig, MemoryConfig, SeedsConfig, load_preset
from personamem_pipeline.questions.write import UNCERTIFIED, write_questions
from personamem_pipeline.records import History, Message, Question, Session
from personamem_pipeline.seeds import fraction, rng
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.training.grpo.curriculum import Item, curriculum
from personamem_pipeline.training.grpo.options import trl_config
from personamem_pipeline.training.grpo.scored import ScoredRollout
from personamem_pipeline.training.grpo.trainer import MemoryGRPOTrainer
from personamem_pipeline.training.rewards.records import AnswerReward

BASE = PROJECT / "models" / "tiny-base"
ResultT = TypeVar("ResultT")
MESSAGE = 64
"""Tokens of one message of a made-up chat, as a chunk counts it."""


class Clock:
    """What seconds are. Of the wall; of this process's processors where other work would disturb (`--processor-time`)."""

    now: Callable[[], float] = time.perf_counter


@dataclass(frozen=True)
class Part:
    """What one part of the benchmark found."""

    title: str
    lines: list[list[str]]
    """The table, its heading first."""
    figures: dict[str, Any]
    """All of it, for the JSON file."""
    notes: tuple[str, ...] = ()


def renderer() -> Renderer:
    """The tiny base model's tokenizer."""
    return Renderer(AutoTokenizer.from_pretrained(BASE, local_files_only=True))


def policy(context: int) -> Any:
    """The same random model each time, for up to `context` tokens; float32, on the CPU unless there is a GPU."""
    config = AutoConfig.from_pretrained(BASE, local_files_only=True)
    config.max_position_embeddings = context
    config.use_cache = True  # as in the base's generation_config.json; the Trainer leaves False in config.json
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).float()


@cache
def words() -> tuple[str, ...]:
    """Words that are one token each inside a sentence."""
    pieces = renderer().tokenizer.get_vocab()
    return tuple(sorted(piece[1:] for piece in pieces if piece[:1] == "▁" and piece[1:].isalpha() and len(piece) > 3))


def text(tokens: int, *key: str | int) -> str:
    """That many tokens, after a space; no two keys give the same."""
    return " ".join(rng(0, "benchmark text", *key).choices(words(), k=tokens))


def made_up(person: str, tokens: int) -> History:
    """A chat of `tokens` tokens in messages of `MESSAGE`, that gives nothing away."""
    messages = tuple(
        Message(
            turn_id=f"{person}.m{i}",
            role="assistant" if i % 2 else "user",
            content=text(MESSAGE - 2, person, i),  # the role and the line break are two
        )
        for i in range(tokens // MESSAGE)
    )
    session = Session(
        session_id=f"{person}.s0", person_id=person, time="2026-01-01T09:00", conversation_type="chat_message",
        event="small_talk", preference=None, wording="seen", messages=messages, evidence=(), author="benchmark",
    )  # fmt: skip
    return History(person_id=person, split="training", sessions=(session,), tokens=tokens, tokenizer="models/tiny-base")


def asked(person: str, number: int) -> Question:
    """A question about a made-up chat; the only sense of it is its length."""
    right, *wrong = (text(8, person, number, option) for option in range(4))
    return Question(
        question_id=f"{person}.q{number}", person_id=person, split="training", user_query=text(10, person, number),
        correct_answer=right, incorrect_answers=(wrong[0], wrong[1], wrong[2]),
        incorrect_kinds=("other", "other", "generic"), topic="words", preference="words", preference_id=f"{person}.p0",
        pref_type="neutral_preferences", who="self", updated=False, prev_pref="", conversation_scenario="chat_message",
        wording="seen", evidence=(f"{person}.m0",), author="benchmark", certificate=UNCERTIFIED,
    )  # fmt: skip


def population(persons: int, tokens: Callable[[int], int], questions: int) -> tuple[dict[str, History], list[Question]]:
    """Made-up persons with `questions` each; person number i has a chat of `tokens(i)`."""
    names = [f"p{i}" for i in range(persons)]
    histories = {name: made_up(name, tokens(i)) for i, name in enumerate(names)}
    return histories, [asked(name, number) for name in names for number in range(questions)]


@cache
def written(persons: int) -> tuple[dict[str, History], list[Question]]:
    """Persons of the demo preset with their chats and questions, written by the simulator; real sentences."""
    data, endpoint = load_preset("demo").data, Endpoint(base_url=None, model="simulator/1", api_key=None)
    seeds = draw_seeds(SeedsConfig(training_persons=persons, benchmark_persons=1), data.seed).rows
    personas, _ = write_personas(seeds, data.personas, endpoint, data.seed)
    sessions, _ = write_sessions(personas, data.conversations, endpoint, data.seed)
    histories = assemble_all(personas, sessions, data.histories)
    questions, _ = write_questions(personas, histories, endpoint, data.seed)
    return {history.person_id: history for history in histories}, questions


def worth(reply: str) -> float:
    """A reward that hardly any two replies share, so that no group is without advantage."""
    return fraction(0, "benchmark reward", reply)


def pay(items: Sequence[Item], replies: Sequence[Generation]) -> list[AnswerReward]:
    """Rewards of answers, as the trainer asks for them."""
    return [AnswerReward({"choice": worth(reply.text)}, worth(reply.text)) for reply in replies]


def grpo(**figures: Any) -> GrpoConfig:
    """Training that hardly moves the weights: every step samples with the same policy."""
    return GrpoConfig.model_validate(
        {"steps": 1, "learning_rate": 1e-12, "open_share": 0.0, "mask_overlong": False, **figures}
    )


class Steps(TrainerCallback):  # type: ignore[misc]
    """Seconds of each optimizer step, from one log line to the next: all that a step costs, and no start-up."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.times.append(Clock.now())

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any) -> None:
        if logs and "train_runtime" not in logs:
            self.times.append(Clock.now())

    @property
    def seconds(self) -> list[float]:
        return [after - before for before, after in pairwise(self.times)]


@dataclass
class Trained:
    """A run of the trainer, with everything it made."""

    trainer: MemoryGRPOTrainer
    seconds: list[float]
    """Of each optimizer step. The first one also pays for first allocations."""
    scored: list[list[ScoredRollout]] = field(default_factory=list)
    """Of each step."""

    def logged(self, name: str) -> list[float]:
        """A figure of each step, as training logs it."""
        return [line[name] for line in self.trainer.state.log_history if name in line]


def train(
    model: Any,
    histories: Mapping[str, History],
    questions: Sequence[Question],
    config: GrpoConfig,
    memory: MemoryConfig,
    scratch: Path,
    *,
    kind: type[MemoryGRPOTrainer] = MemoryGRPOTrainer,
    full_memories: bool = False,
) -> Trained:
    """Run `config.steps` optimizer steps. With `full_memories` each reply ends exactly at its cap: the longest rollouts."""
    items, own = curriculum(questions, config), renderer()
    steps, scored = Steps(), list[list[ScoredRollout]]()
    chunks = max(chunks_of(history, memory) for history in histories.values())
    args = trl_config(config, scratch, chunks, {})
    args.save_strategy = "no"
    if full_memories:
        args.generation_kwargs = {"forced_eos_token_id": own.eos_id}
    trainer = kind(
        model=model.train(),
        args=args,
        train_dataset=Dataset.from_list([{"prompt": "", "item": i} for i in range(len(items))]),
        items=items,
        histories=histories,
        memory=memory,
        config=config,
        renderer=own,
        rewards=pay,
        most_writes=chunks,
        on_rollouts=lambda _, rollouts: scored.append(list(rollouts)),
        callbacks=[steps],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return Trained(trainer, steps.seconds, scored)


def chunks_of(history: History, memory: MemoryConfig) -> int:
    """Write turns that a history takes."""
    if memory.protocol == "full_context":
        return 0
    return len(chunk_messages(history.messages, memory.chunk_tokens, renderer().count))


@contextmanager
def peak_memory() -> Iterator[Callable[[], float]]:
    """Gives a function that says the most megabytes that were resident since the start of the block (Linux only)."""
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark, proc(5)

    def peak() -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024

    yield peak


def timed(work: Callable[[], ResultT]) -> tuple[ResultT, float]:
    """The result, and the seconds that it took."""
    started = Clock.now()
    result = work()
    return result, Clock.now() - started


def middle(values: Sequence[float], digits: int = 3) -> str:
    """The median, for a table."""
    return f"{statistics.median(values):.{digits}f}"
