"""A small benchmark by hand, a model that can do part of it, and a store with both: no simulator, no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from personamem_pipeline.arrow import arrow_schema, to_arrow
from personamem_pipeline.evaluation.records import Benchmark
from personamem_pipeline.memory.generators.scripted import ScriptedGenerator
from personamem_pipeline.presets import MemoryConfig, load_preset
from personamem_pipeline.records import Certificate, History, Message, Preference, Question, Session
from personamem_pipeline.seeds import fraction
from personamem_pipeline.stage import StageJob
from personamem_pipeline.store import Store

TOPICS = ("drinks", "music", "sports", "books")
LIKES = ("green tea", "soft jazz", "slow hiking", "old maps", "blue paint", "long trains")
KINDS = ("stereotypical_pref", "anti_stereotypical_pref", "neutral_preferences", "ask_to_forget")
MEMORY = MemoryConfig(prompts="compact", chunk_tokens=14, max_chunks=9, memory_tokens=200, answer_tokens=30)


def person(index: int, split: str = "benchmark") -> tuple[History, list[Question]]:
    """One person who says one thing per topic, a question about each."""
    who = f"{split[0]}{index:03d}"
    sessions, questions = [], []
    for place, topic in enumerate(TOPICS):
        like = LIKES[(index + 2 * place) % len(LIKES)]
        others = [text for text in LIKES if text != like][:3]
        turn = f"{who}.s{place}.0"
        messages = (
            Message(turn_id=turn, role="user", content=f"My {topic} is {like} as you know."),
            Message(turn_id=f"{who}.s{place}.1", role="assistant", content="Noted, thank you."),
        )
        sessions.append(
            Session(
                session_id=f"{who}.s{place}", person_id=who, time=f"2024-01-0{place + 1}",
                conversation_type="chat_message", event="reveals", wording="seen",
                preference=Preference(
                    preference_id=f"{who}.p{place}", topic=topic, text=like, pref_type="neutral_preferences"
                ),
                messages=messages, evidence=(turn,), author="hand",
            )
        )  # fmt: skip
        questions.append(
            Question(
                question_id=f"{who}.q{place}", person_id=who, split=split, user_query=f"Which {topic} today?",
                correct_answer=f"You could try {like}.", incorrect_answers=tuple(f"You could try {o}." for o in others),
                topic=topic, preference=like, preference_id=f"{who}.p{place}", pref_type=KINDS[place], who="self",
                incorrect_kinds=("other", "other", "generic"), updated=place == 1, prev_pref="",
                conversation_scenario="chat_message",
                wording="unseen" if place == 3 else "seen", evidence=(turn,), author="hand",
                certificate=Certificate(
                    readers=("hand",), blind_accuracy=0.25, blind_by_reader=(0.25,), oracle_accuracy=1.0,
                    update_accuracy=None, swapped_accuracy=0.25, query_leak=False, implicitness=1.0,
                    longest_guess=0.0, shortest_guess=0.0, admitted=True, reasons=(),
                ),
            )
        )  # fmt: skip
    return History(person_id=who, split=split, sessions=tuple(sessions), tokens=60, tokenizer="words"), questions


def reader(skill: float) -> Callable[[str], str]:
    """Writes down what a chat says with chance `skill` (by the text, not by luck); answers from what is written."""

    def reply(prompt: str) -> str:
        if prompt.startswith("What does the user like?"):
            chat, _, memory = prompt.partition("\nOld list:\n")
            kept = [line for line in memory.splitlines() if line.startswith("- ")]
            said = re.findall(r"My (\w+) is (\w+ \w+) as", chat)
            new = [f"- {topic}: {like}" for topic, like in said if fraction(0, "skill", chat, topic) < skill]
            return "\n".join([*kept, *new]) or "none"
        topic = re.search(r"Which (\w+) today", prompt)[1]
        line = re.search(rf"- {topic}: (.+)", prompt)
        if line is None:
            return "I do not know"
        letter = re.search(rf"You could try {line[1]}\. \((\w)\)", prompt)
        return f"{line[0]}\n\\boxed{{{letter[1]}}}" if letter else f"{line[0]}\nYou could try {line[1]}."

    return reply


@pytest.fixture
def benchmark() -> Benchmark:
    people = [person(index) for index in range(8)]
    return Benchmark({h.person_id: h for h, _ in people}, [q for _, own in people for q in own], orders=2, seed=0)


@pytest.fixture
def memory() -> MemoryConfig:
    return MEMORY


@pytest.fixture
def model() -> Callable[[float], ScriptedGenerator]:
    return lambda skill: ScriptedGenerator(reader(skill))


@pytest.fixture
def put_dataset() -> Callable[..., str]:
    """Store people as a gathered dataset and return its version."""

    def put(store: Store, kind: str, people: list[tuple[History, list[Question]]], scratch: Path) -> str:
        scratch.mkdir(parents=True, exist_ok=True)
        questions = [question for _, own in people for question in own]
        rows = {"histories": (History, [history for history, _ in people]), "questions": (Question, questions)}
        for name, (record, records) in rows.items():
            table = pa.Table.from_pylist([to_arrow(row) for row in records], schema=arrow_schema(record))
            pq.write_table(table, scratch / f"{name}.parquet")
        return store.put_directory(kind, scratch, parents={}, producer={"stage": "test"}).version

    return put


@pytest.fixture
def make_people() -> Callable[..., list[tuple[History, list[Question]]]]:
    return lambda count, split="benchmark": [person(index, split) for index in range(count)]


def write_passport(directory: Path, stage: str, seed: int, **section: object) -> None:
    passport = {"stage": stage, "inputs": {}, "code_version": "test", "preset": {"section": {"seed": seed, **section}}}
    (directory / "passport.json").write_text(json.dumps(passport))


@pytest.fixture
def job(tmp_path: Path, put_dataset: Callable[..., str], make_people: Callable[..., list]) -> StageJob:
    """A job whose three checkpoints are files that name a skill; load them with `load_skilled`."""
    store = Store(tmp_path / "store")
    inputs = {"benchmark": put_dataset(store, "benchmark", make_people(8), tmp_path / "benchmark")}
    training = put_dataset(store, "training_dataset", make_people(5, "training"), tmp_path / "training")
    parents = {"training_dataset": training}
    for name, skill in (("base_model", "0.1"), ("sft_checkpoint", "0.5"), ("grpo_checkpoint", "0.9")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "skill").write_text(skill)
        write_passport(tmp_path / name, name, seed=0)
        stage = name.removesuffix("_checkpoint")
        rows = [{"stage": stage, "step": step, "loss": 1 / step, "reward": step / 40} for step in range(1, 31)]
        (tmp_path / name / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
        producer = {"stage": name}
        own = {} if name == "base_model" else parents
        inputs[name] = store.put_directory("checkpoints", tmp_path / name, parents=own, producer=producer).version
    preset = load_preset("demo")
    evaluation = preset.evaluation.model_copy(update={"bootstrap": 300})
    preset = preset.model_copy(update={"memory": MEMORY, "evaluation": evaluation})
    return StageJob(
        stage="benchmark_report", store=str(store.root), inputs=inputs, preset=preset, code_version="test",
        scratch=str(tmp_path / "scratch"),
    )  # fmt: skip


@pytest.fixture
def load_skilled() -> Callable[[Path], ScriptedGenerator]:
    return lambda directory: ScriptedGenerator(reader(float((directory / "skill").read_text())))
