"""The `sft_checkpoint` stage: teach the memory-agent format.

    python -m personamem_pipeline.training.sft --job job.json

Rows are perfect turns over the training persons (`training.targets`): each chunk with the ideal memory before it and the
ideal memory after it; each question with the memory that a perfect reading of all chunks leaves, and an answer, as
multiple choice and open-ended. They are rendered exactly as GRPO and evaluation render them. With `sft.targets: teacher`
a larger model's replies take the labelled targets' place where the labels accept them (`training.teacher`). Under
`protocol: full_context` all rows are answers from the whole chat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import CHECKPOINTS
from personamem_pipeline.memory.chunking import chunk_messages
from personamem_pipeline.memory.episode import question_prompt
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.generators.transformers import load_model
from personamem_pipeline.memory.prompts import write_prompt
from personamem_pipeline.passports.used import rows_used
from personamem_pipeline.presets import MemoryConfig, SftConfig
from personamem_pipeline.progress import Progress
from personamem_pipeline.questions.gather import read_histories, read_questions
from personamem_pipeline.questions.options import lettered
from personamem_pipeline.records import History, Question
from personamem_pipeline.seeds import endless, rng
from personamem_pipeline.stage import run_stage
from personamem_pipeline.stage_job import StageJob, StageResult
from personamem_pipeline.store import Store
from personamem_pipeline.training.checkpoints import checkpoint_directory, origins, save_checkpoint
from personamem_pipeline.training.lora import with_adapters
from personamem_pipeline.training.metrics import MetricsLog
from personamem_pipeline.training.supervised import FitConfig, TrainRow, fit
from personamem_pipeline.training.targets import (
    AnswerTask,
    Task,
    WriteTask,
    decidable,
    ideal_answer,
    ideal_turns,
    ideal_write,
)
from personamem_pipeline.training.teacher import TARGETS, configured_teacher, prompts_digest, taught_targets


def write_tasks(histories: Sequence[History], renderer: Renderer, memory: MemoryConfig) -> list[WriteTask]:
    """One task per chunk of every history, a history's own in order."""
    tasks = []
    for history in histories:
        chunks = tuple(chunk_messages(history.messages, memory.chunk_tokens, renderer.count))
        turns = ideal_turns(history, chunks)
        tasks += [WriteTask(history, chunks, number, turn) for number, turn in enumerate(turns)]
    return tasks


def schedule(
    histories: Sequence[History],
    questions: Sequence[Question],
    renderer: Renderer,
    memory: MemoryConfig,
    config: SftConfig,
) -> list[Task]:
    """The `steps * batch_size` tasks of the run: write and answer turns in the asked-for shares, each kind going through
    all its tasks before any comes again; a question comes back with its options in another order."""
    if memory.protocol == "full_context":
        if config.write_share > 0:
            raise UserError(
                f"there are no write turns under protocol: full_context, and sft.write_share is {config.write_share:g}",
                where="sft.write_share",
                remedy="set sft.write_share to 0 in the preset",
            )
        writes: list[WriteTask] = []
        known: Mapping[str, Any] = {history.person_id: history.messages for history in histories}
    else:
        writes = write_tasks(histories, renderer, memory)
        known = {task.history.person_id: task.turn.after for task in writes}  # the last chunk's is what stays
    questions = [question for question in questions if decidable(question, known[question.person_id])]
    if (not writes and config.write_share > 0) or (not questions and config.write_share < 1):
        raise UserError(
            f"there is nothing to learn from: {len(writes)} chunks, {len(questions)} questions with their evidence",
            where="training_dataset",
            remedy="materialize it with persons whose histories hold their preferences",
        )
    write_stream = endless(writes, config.seed, "write rows")
    choice_stream = endless(questions, config.seed, "choice rows")
    open_stream = endless(questions, config.seed, "open rows")
    draw = rng(config.seed, "sft kinds")
    tasks: list[Task] = []
    for _ in range(config.steps * config.batch_size):
        if draw.random() < config.write_share:
            tasks.append(next(write_stream)[1])
            continue
        is_open = draw.random() < config.open_share
        epoch, question = next(open_stream if is_open else choice_stream)
        options, letter = (None, None) if is_open else lettered(question, config.seed, epoch)
        tasks.append(AnswerTask(question, known[question.person_id], options, letter, epoch))
    return tasks


def labelled_target(task: Task, memory: MemoryConfig) -> str:
    """What the labels say that the reply should be."""
    if isinstance(task, WriteTask):
        return ideal_write(task.turn, memory)
    return ideal_answer(memory, task.question, task.known, task.options, task.letter)


def train_row(task: Task, target: str, renderer: Renderer, memory: MemoryConfig) -> TrainRow:
    """A task as token ids."""
    if isinstance(task, WriteTask):
        prompt = write_prompt(memory, task.chunk, task.turn.before)
    else:
        prompt = question_prompt(memory, task.known, task.question.user_query, task.options)
    return TrainRow(tuple(renderer.prompt_ids(prompt)), tuple(renderer.completion_ids(target)))


def over_caps(tasks: Sequence[Task], rows: Sequence[TrainRow], memory: MemoryConfig) -> dict[str, float]:
    """How many rows teach a reply that would be cut off: memories over `memory_tokens`, answers over `answer_tokens`."""
    over = {"write_rows_over_cap": 0.0, "answer_rows_over_cap": 0.0}
    for task, row in zip(tasks, rows, strict=True):
        if isinstance(task, WriteTask):
            over["write_rows_over_cap"] += len(row.completion_ids) > memory.memory_tokens
        else:
            over["answer_rows_over_cap"] += len(row.completion_ids) > memory.answer_tokens
    return over


def check_context(rows: Sequence[TrainRow], most: int) -> None:
    """Raise `UserError` where a row is longer than the model's context of `most` tokens."""
    longest = max(len(row.prompt_ids) + len(row.completion_ids) for row in rows)
    if longest > most:
        raise UserError(
            f"the longest row has {longest} tokens",
            where="memory",
            expected=f"at most {most}, the model's max_position_embeddings",
            remedy="lower memory.chunk_tokens or memory.memory_tokens (full_context: shorter histories), "
            "or take a model of a longer context",
        )


def main(job: StageJob, progress: Progress) -> StageResult:
    """Fine-tune the base model; see the module's docstring."""
    store, config, memory, papers = Store(job.store), job.preset.sft, job.preset.memory, origins(job, "base_model")
    histories = read_histories(store, "training_dataset", job.inputs["training_dataset"])
    questions = read_questions(store, "training_dataset", job.inputs["training_dataset"])
    model, tokenizer = load_model(checkpoint_directory(job, "base_model"), training=True)
    renderer, scratch = Renderer(tokenizer), job.scratch_directory()
    tasks = schedule(histories, questions, renderer, memory, config)
    targets = {task.key: labelled_target(task, memory) for task in tasks}
    metrics: dict[str, float] = {}
    extra: dict[str, Any] = {"turns": len(tasks), "steps": config.steps}
    if config.targets == "teacher":
        taught = taught_targets(tasks, configured_teacher(), memory, config, renderer, scratch, progress)
        targets |= taught.targets
        metrics = {"teacher_accepted": len(taught.targets), "teacher_fell_back": taught.fell_back}
        papers = replace(papers, files={TARGETS: taught.model_dump_json(indent=1) + "\n"})
        extra["teacher"] = {
            "model": taught.model, "prompts": prompts_digest(), "seed": config.seed,
            "samples": config.teacher_samples, "targets": TARGETS, **metrics,
        }  # fmt: skip
    made = {task.key: train_row(task, targets[task.key], renderer, memory) for task in tasks}
    rows = [made[task.key] for task in tasks]
    check_context(rows, model.config.max_position_embeddings)
    over = over_caps(tasks, rows, memory)
    progress.say(
        "%d rows of %d persons; over their cap: %d memories, %d answers", len(rows), len(histories), *over.values()
    )
    fit_config = FitConfig(
        steps=config.steps,
        batch_size=config.batch_size,
        micro_batch_rows=config.micro_batch_rows,
        processes=config.processes,
        learning_rate=config.learning_rate,
        warmup_share=config.warmup_share,
        max_grad_norm=config.max_grad_norm,
        save_steps=config.save_steps,
        seed=config.seed,
    )
    if config.lora:
        model = with_adapters(model, config.lora, config.seed)
    log = MetricsLog(job, "sft")
    trainer = fit(model, tokenizer, rows, fit_config, scratch, progress, on_log=log)
    used = rows_used([row for place in step for row in tasks[place].rows] for step in trainer.seen.steps)
    extra["curves"] = log.curves(("loss",))
    version = save_checkpoint(job, trainer, tokenizer, config, replace(papers, rows=used, extra=extra))
    if not progress.is_main:
        return StageResult(kind=CHECKPOINTS, version=version)  # the log, and the report, are the first process's
    return StageResult(
        kind=CHECKPOINTS,
        version=version,
        metrics={"loss": log.last("loss"), "rows": len(rows), **over, **metrics},
        paths={
            "checkpoint": store.address(CHECKPOINTS, version),
            "curves": str(log.plot("loss")),
            "metrics": str(log.path),
        },
    )


if __name__ == "__main__":
    run_stage(main)
