"""The rows of the SFT stage: rendered as they will be asked for, resting on what the agent would really have."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import CHECKPOINTS
from personamem_pipeline.memory.episode import question_prompt
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.prompts import chat_prompt, write_prompt
from personamem_pipeline.passports.records import read_passport
from personamem_pipeline.passports.used import read_rows
from personamem_pipeline.presets import LoraConfig, MemoryConfig, SftConfig, load_preset
from personamem_pipeline.progress import Progress
from personamem_pipeline.questions.gather import read_histories, read_questions
from personamem_pipeline.stage_job import StageJob
from personamem_pipeline.store import Store
from personamem_pipeline.store.runs import RESUMED_FROM
from personamem_pipeline.training.sft import (
    check_context,
    labelled_target,
    main,
    over_caps,
    schedule,
    train_row,
    write_tasks,
)
from personamem_pipeline.training.supervised import TrainRow
from personamem_pipeline.training.targets import AnswerTask, Task, WriteTask
from personamem_pipeline.training.teacher import TARGETS, Taught, prompts_digest
from tests.rooms import rooms
from tests.stored import stored_dataset, stored_model

CONFIG = MemoryConfig(prompts="full", chunk_tokens=200, max_chunks=99, memory_tokens=4000, answer_tokens=4000)
WHOLE = CONFIG.model_copy(update={"protocol": "full_context"})
SFT = SftConfig(steps=20, batch_size=16, learning_rate=1e-3)


def tasks_of(renderer: Renderer, memory: MemoryConfig = CONFIG, **changes: Any) -> list[Task]:
    config = SFT.model_copy(update=changes)
    return schedule(rooms().histories, rooms().questions, renderer, memory, config)


def test_answers_rest_on_the_memory_after_the_last_chunk(renderer: Renderer) -> None:
    finals = {task.history.person_id: task.turn.after for task in write_tasks(rooms().histories, renderer, CONFIG)}
    pieces = CONFIG.model_copy(update={"chunk_tokens": 10**6})
    single = {task.history.person_id: task.turn.after for task in write_tasks(rooms().histories, renderer, pieces)}
    assert finals != single  # the news of each chunk come first, so that the order tells how it was read
    assert all(set(finals[person].splitlines()) == set(single[person].splitlines()) for person in finals)
    answers = [task for task in tasks_of(renderer) if isinstance(task, AnswerTask)]
    assert answers and all(task.known == finals[task.question.person_id] for task in answers)


def test_a_write_turn_starts_from_the_memory_that_the_one_before_left(renderer: Renderer) -> None:
    tasks = write_tasks(rooms().histories, renderer, CONFIG)
    for one, two in pairwise(tasks):
        if one.history.person_id == two.history.person_id:
            assert two.turn.before == one.turn.after and two.number == one.number + 1
    for task in tasks[:5]:
        row = train_row(task, "- a: b", renderer, CONFIG)
        assert row.prompt_ids == tuple(renderer.prompt_ids(write_prompt(CONFIG, task.chunk, task.turn.before)))


def test_kinds_come_in_the_asked_for_shares_and_questions_in_new_orders(renderer: Renderer) -> None:
    tasks = tasks_of(renderer, write_share=0.25, open_share=0.4)
    answers = [task for task in tasks if isinstance(task, AnswerTask)]
    assert len(tasks) == 320
    assert 0.15 < 1 - len(answers) / len(tasks) < 0.35
    assert 0.3 < sum(task.letter is None for task in answers) / len(answers) < 0.5
    keys = [task.key for task in answers if task.letter is not None]
    assert len(set(keys)) == len(keys)
    assert [task.key for task in tasks] == [task.key for task in tasks_of(renderer, write_share=0.25, open_share=0.4)]


def test_a_turn_names_the_rows_that_it_shows(renderer: Renderer) -> None:
    for task in tasks_of(renderer):
        own = (task.history.person_id,) if isinstance(task, WriteTask) else (task.question.question_id,)
        assert task.rows == own
    for task in tasks_of(renderer, WHOLE, write_share=0.0)[:20]:
        assert isinstance(task, AnswerTask)
        assert task.rows == (task.question.question_id, task.question.person_id)


def test_whole_chats_are_answered_and_nothing_is_written(renderer: Renderer) -> None:
    tasks = tasks_of(renderer, WHOLE, write_share=0.0)
    histories = {history.person_id: history.messages for history in rooms().histories}
    for task in tasks[:20]:
        assert isinstance(task, AnswerTask)
        question = task.question
        expected = chat_prompt(WHOLE, histories[question.person_id], question.user_query, task.options)
        assert question_prompt(WHOLE, task.known, question.user_query, task.options) == expected
        row = train_row(task, labelled_target(task, WHOLE), renderer, WHOLE)
        assert row.prompt_ids == tuple(renderer.prompt_ids(expected))
    with pytest.raises(UserError, match=r"set sft\.write_share to 0"):
        tasks_of(renderer, WHOLE)


def test_questions_without_their_evidence_are_not_taught(renderer: Renderer) -> None:
    lost = [question.model_copy(update={"evidence": ()}) for question in rooms().questions]
    config = SFT.model_copy(update={"write_share": 0.0})
    kept = schedule(rooms().histories, [*lost[:10], *rooms().questions[10:]], renderer, WHOLE, config)
    assert {task.key.split()[0] for task in kept}.isdisjoint(question.question_id for question in lost[:10])
    with pytest.raises(UserError, match="nothing to learn from"):
        schedule(rooms().histories, lost, renderer, WHOLE, config)


def test_rows_over_their_own_cap_are_counted_apart(renderer: Renderer) -> None:
    tasks = tasks_of(renderer)
    rows = [train_row(task, labelled_target(task, CONFIG), renderer, CONFIG) for task in tasks]
    lengths = {
        kind: sorted(len(row.completion_ids) for task, row in zip(tasks, rows, strict=True) if isinstance(task, kind))
        for kind in (WriteTask, AnswerTask)
    }
    caps = {kind: own[len(own) // 2] for kind, own in lengths.items()}
    memory = CONFIG.model_copy(update={"memory_tokens": caps[WriteTask], "answer_tokens": caps[AnswerTask]})
    assert caps[WriteTask] != caps[AnswerTask]
    assert over_caps(tasks, rows, memory) == {
        "write_rows_over_cap": sum(length > caps[WriteTask] for length in lengths[WriteTask]),
        "answer_rows_over_cap": sum(length > caps[AnswerTask] for length in lengths[AnswerTask]),
    }
    assert not any(over_caps(tasks, rows, CONFIG).values())


def test_a_row_beyond_the_models_context_is_refused() -> None:
    rows = [TrainRow((1,) * 10, (2,) * 3)]
    check_context(rows, 13)
    with pytest.raises(UserError, match="13 tokens"):
        check_context(rows, 12)


@pytest.mark.parametrize("changes", [{}, {"targets": "teacher", "lora": LoraConfig(rank=2)}], ids=["labels", "teacher"])
def test_the_stage_makes_a_checkpoint(changes: dict[str, Any], policy: Any, renderer: Renderer, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    preset = load_preset("demo")
    dataset, base = stored_dataset(store), stored_model(store, policy(), renderer.tokenizer)
    figures = {"steps": 2, "batch_size": 4, "micro_batch_rows": 2, "teacher_samples": 3}
    caps = {"chunk_tokens": 400, "memory_tokens": 4000, "answer_tokens": 4000}
    preset = preset.model_copy(
        update={
            "memory": preset.memory.model_copy(update=caps),
            "sft": preset.sft.model_copy(update={**figures, **changes}),
        }
    )
    job = StageJob(
        stage="sft_checkpoint", store=str(store.root), preset=preset, code_version="test",
        inputs={"training_dataset": dataset, "base_model": base},
    )  # fmt: skip
    result = main(job, Progress())
    directory = store.verified(CHECKPOINTS, result.version)
    tasks = schedule(
        read_histories(store, "training_dataset", dataset), read_questions(store, "training_dataset", dataset),
        renderer, preset.memory, preset.sft,
    )  # fmt: skip
    used, passport = read_rows(directory), read_passport(directory)
    assert set(used.ids) == {row for task in tasks for row in task.rows} and len(used.steps) == 2
    assert passport.rows == {"steps": 2, "rows": len(used.ids)} and passport.base == base and passport.reward is None
    assert passport.data is not None and passport.data.version == dataset
    assert result.metrics["rows"] == 8 and result.metrics["write_rows_over_cap"] == 0
    assert ("teacher_accepted" in result.metrics) == ("targets" in changes)
    assert (directory / TARGETS).exists() == ("targets" in changes)
    if "targets" in changes:
        teacher = passport.model_dump()["teacher"]
        taught = Taught.model_validate_json((directory / teacher["targets"]).read_text())
        assert len(taught.targets) == teacher["teacher_accepted"] > 0 and taught.model == teacher["model"]
        assert teacher["prompts"] == prompts_digest() and teacher["seed"] == preset.sft.seed
    assert TARGETS in RESUMED_FROM, "when the stage is done it goes: the next run asks the teacher of its day"
    assert (job.scratch_directory() / TARGETS).exists() == ("targets" in changes)
    again = main(job, Progress())  # as if nobody had heard of the result: its steps and targets are still there
    assert again.version == result.version and again.metrics == result.metrics
