"""A small benchmark by hand, a model that can do part of it, and a store with both: no simulator, no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.arrow import write_parquet
from personamem_pipeline.evaluation.asked import Asked, ask
from personamem_pipeline.evaluation.records import Reply
from personamem_pipeline.evaluation.source import Batch, Source
from personamem_pipeline.memory.generators.scripted import ScriptedGenerator
from personamem_pipeline.presets import EvaluationConfig, MemoryConfig, load_preset
from personamem_pipeline.records import Certificate, History, Message, Preference, Question, Rejection, Session
from personamem_pipeline.seeds import fraction
from personamem_pipeline.stage_job import StageJob, StageResult
from personamem_pipeline.store import Store

TOPICS = ("drinks", "music", "sports", "books")
LIKES = ("green tea", "soft jazz", "slow hiking", "old maps", "blue paint", "long trains")
FORGOTTEN = "books"
KINDS = ("stereotypical_pref", "anti_stereotypical_pref", "neutral_preferences", "ask_to_forget")
MEMORY = MemoryConfig(prompts="compact", chunk_tokens=14, max_chunks=9, memory_tokens=200, answer_tokens=30)


SYSTEMS = ("base", "sft", "grpo", "oracle", "full_context", "bm25", "swapped_history", "no_history", "query_aware",
           "query_blind")  # fmt: skip
GENERIC = "You could try something new."


def session(who: str, place: int, said: str, topic: str, like: str, event: str) -> Session:
    turn = f"{who}.s{place}.0"
    messages = (
        Message(turn_id=turn, role="user", content=said),
        Message(turn_id=f"{who}.s{place}.1", role="assistant", content="Noted, thank you."),
    )
    held = Preference(
        preference_id=f"{who}.{topic}", topic=topic, text=like, pref_type="neutral_preferences",
        forgotten=topic == FORGOTTEN,
    )  # fmt: skip
    return Session(
        session_id=f"{who}.s{place}", person_id=who, time=f"2024-01-0{place + 1}", conversation_type="chat_message",
        event=event, wording="seen", preference=held, messages=messages, evidence=(turn,), author="hand",
    )  # fmt: skip


def question(who: str, split: str, place: int, like: str) -> Question:
    topic, forgotten = TOPICS[place], TOPICS[place] == FORGOTTEN
    others = [text for text in LIKES if text != like][: 2 if forgotten else 3]
    wrong = [*(f"You could try {other}." for other in others), *([f"You could try {like}."] if forgotten else [])]
    return Question(
        question_id=f"{who}.q{place}", person_id=who, split=split, user_query=f"Which {topic} today?",
        correct_answer=GENERIC if forgotten else f"You could try {like}.", incorrect_answers=tuple(wrong),
        topic=topic, preference=like, preference_id=f"{who}.{topic}", pref_type=KINDS[place], who="self",
        incorrect_kinds=("other", "other", "forgotten" if forgotten else "generic"), updated=place == 1,
        prev_pref=like if forgotten else "", conversation_scenario="chat_message",
        wording="unseen" if place == 3 else "seen",
        evidence=(f"{who}.s{place}.0", *([f"{who}.s{len(TOPICS)}.0"] if forgotten else [])), author="hand",
        certificate=Certificate(
            readers=("hand",), blind_accuracy=0.25, blind_by_reader=(0.25,), oracle_accuracy=1.0,
            update_accuracy=None, swapped_accuracy=0.25, query_leak=False, implicitness=1.0,
            longest_guess=0.0, shortest_guess=0.0, admitted=True, reasons=(),
        ),
    )  # fmt: skip


def person(index: int, split: str = "benchmark") -> tuple[History, list[Question]]:
    """One person who says one thing per topic and asks to forget the last; a question about each."""
    who = f"{split[0]}{index:03d}"
    likes = [LIKES[(index + 2 * place) % len(LIKES)] for place in range(len(TOPICS))]
    sessions = [
        session(who, place, f"My {topic} is {likes[place]} as you know.", topic, likes[place], "reveals")
        for place, topic in enumerate(TOPICS)
    ]
    sessions.append(session(who, len(TOPICS), f"Please forget my {FORGOTTEN}.", FORGOTTEN, likes[-1], "forgets"))
    history = History(person_id=who, split=split, sessions=tuple(sessions), tokens=70, tokenizer="words")
    return history, [question(who, split, place, like) for place, like in enumerate(likes)]


def reader(skill: float) -> Callable[[str], str]:
    """Writes down what a chat says with chance `skill` (by the text, not by luck) and drops what is to be forgotten;
    answers from what is written, and generically where nothing is."""

    def reply(prompt: str) -> str:
        if prompt.startswith("What does the user like?"):
            chat, _, memory = prompt.partition("\nOld list:\n")
            kept = [line for line in memory.splitlines() if line.startswith("- ")]
            said = re.findall(r"My (\w+) is (\w+ \w+) as", chat)
            new = [f"- {topic}: {like}" for topic, like in said if fraction(0, "skill", chat, topic) < skill]
            forget = re.findall(r"Please forget my (\w+)", chat)
            lines = [line for line in [*kept, *new] if line[2:].partition(":")[0] not in forget]
            return "\n".join(lines) or "none"
        asked = re.search(r"Which (\w+) today", prompt)
        if asked is None:  # the leak probe blanks questions
            return "I do not know"
        topic = asked[1]
        line = re.search(rf"- {topic}: (.+)", prompt) or re.search(rf"My {topic} is (\w+ \w+) as", prompt)
        told = f"You could try {line[1]}." if line and f"Please forget my {topic}" not in prompt else GENERIC
        letter = re.search(rf"{re.escape(told)} \((\w)\)", prompt)
        return f"{line[0] if line else 'none'}\n" + (f"\\boxed{{{letter[1]}}}" if letter else told)

    return reply


def source_of(people: list[tuple[History, list[Question]]], *, orders: int = 2, people_per_batch: int = 3) -> Source:
    histories = [history for history, _ in people]
    return Source(
        questions=[asked for _, own in people for asked in own], histories=lambda: iter(histories),
        profiles={history.person_id: f"- name: {history.person_id}" for history in histories}, orders=orders, seed=0,
        people_per_batch=people_per_batch, where="by hand",
    )  # fmt: skip


@pytest.fixture
def source() -> Source:
    """Eight people in batches of three, three and two."""
    return source_of([person(index) for index in range(8)])


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
        rows = {
            "histories": (History, [history for history, _ in people]),
            "questions": (Question, questions),
            "rejected": (Rejection, []),
        }
        for name, (record, records) in rows.items():
            write_parquet(scratch / f"{name}.parquet", record, records)
        return store.put_directory(kind, scratch, parents={}, producer={"stage": "test"}).version

    return put


@pytest.fixture
def make_people() -> Callable[..., list[tuple[History, list[Question]]]]:
    return lambda count, split="benchmark": [person(index, split) for index in range(count)]


def write_passport(directory: Path, stage: str, seed: int, **section: object) -> None:
    curves = {
        "loss": [[step, 1 / step] for step in range(1, 31)],
        "reward": [[step, step / 40] for step in range(1, 31)],
    }
    passport = {
        "stage": stage, "inputs": {}, "code_version": "test", "preset": {"section": {"seed": seed, **section}},
        "curves": curves,
    }  # fmt: skip
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
        producer = {"stage": name}
        own = {} if name == "base_model" else parents
        inputs[name] = store.put_directory("checkpoints", tmp_path / name, parents=own, producer=producer).version
    preset = load_preset("demo")
    known = {**EvaluationConfig().systems, **preset.evaluation.systems}
    systems = {name: known[name] for name in SYSTEMS}
    evaluation = preset.evaluation.model_copy(update={"bootstrap": 300, "systems": systems, "people_per_batch": 3})
    preset = preset.model_copy(update={"memory": MEMORY, "evaluation": evaluation})
    return StageJob(
        stage="benchmark_report", store=str(store.root), inputs=inputs, preset=preset, code_version="test",
        scratch=str(tmp_path / "scratch"),
    )  # fmt: skip


@pytest.fixture
def load_skilled() -> Callable[[Path], ScriptedGenerator]:
    return lambda directory: ScriptedGenerator(reader(float((directory / "skill").read_text())))


def asked_as(batch: Batch, row: Reply) -> Asked:
    """What a reply answers."""
    question = next(q for q in batch.questions if q.question_id == row.question_id)
    assert row.order is not None
    return ask(question, batch.seed, row.order, row.moment)


def report_of(job: StageJob, result: StageResult) -> Path:
    return Store(job.store).verified("reports", result.version)


def results_of(job: StageJob, result: StageResult) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((report_of(job, result) / "results.json").read_text())
    return results


def changed(job: StageJob, **values: object) -> StageJob:
    """The same job with other values in the evaluation section."""
    evaluation = job.preset.evaluation.model_copy(update=values)
    return job.model_copy(update={"preset": job.preset.model_copy(update={"evaluation": evaluation})})


def without_probes(job: StageJob) -> StageJob:
    """The probe always runs the model; without it a report of kept answers loads none."""
    return changed(job, leak_people=0)


def another_seed(job: StageJob, tmp_path: Path, seed: int, skill: float, **section: object) -> StageJob:
    """The same evaluation of a checkpoint trained with another seed; the evaluating job knows nothing of that seed."""
    directory = tmp_path / f"seed-{seed}"
    directory.mkdir()
    (directory / "skill").write_text(str(skill))
    write_passport(directory, "grpo_checkpoint", seed, **section)
    store = Store(job.store)
    parents = store.manifest("checkpoints", job.inputs["grpo_checkpoint"]).parents
    grpo = store.put_directory("checkpoints", directory, parents=parents, producer={"seed": str(seed)}).version
    changes = {"inputs": {**job.inputs, "grpo_checkpoint": grpo}, "scratch": f"{directory}-scratch"}
    return job.model_copy(update=changes)
