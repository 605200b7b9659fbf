"""The `sft_checkpoint` stage: teach the memory-agent format.

    python -m personamem_pipeline.training.sft --job job.json

Rows are perfect turns over the training persons (`training.targets`): each chunk with the ideal memory before it and the
ideal memory after it; each question with the memory that a perfect reading of the whole history in one piece leaves, and
an answer, as multiple choice and open-ended. They are rendered exactly as GRPO and evaluation render them.
"""

from __future__ import annotations

from collections.abc import Sequence

from personamem_pipeline.memory.chunking import chunk_messages
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.generators.transformers import load_model
from personamem_pipeline.memory.prompts import answer_prompt, write_prompt
from personamem_pipeline.presets import MemoryConfig, SftConfig
from personamem_pipeline.questions.gather import read_histories, read_questions
from personamem_pipeline.questions.options import lettered
from personamem_pipeline.records import History, Question
from personamem_pipeline.seeds import endless, rng
from personamem_pipeline.stage import Progress, StageJob, StageResult, run_stage
from personamem_pipeline.store import Store
from personamem_pipeline.training.checkpoints import KIND, checkpoint_directory, drop_steps, save_checkpoint
from personamem_pipeline.training.metrics import MetricsLog
from personamem_pipeline.training.supervised import FitConfig, TrainRow, fit
from personamem_pipeline.training.targets import ideal_answer, ideal_memories


def write_rows(histories: Sequence[History], renderer: Renderer, memory: MemoryConfig) -> list[TrainRow]:
    """One row per chunk of every history."""
    rows = []
    for history in histories:
        chunks = chunk_messages(history.messages, memory.chunk_tokens, renderer.count)
        before = ""
        for chunk, after in zip(chunks, ideal_memories(history, chunks), strict=True):
            rows.append(_row(renderer, write_prompt(memory.prompts, chunk, before), after))
            before = after
    return rows


def answer_row(
    question: Question, final: str, order: int | None, renderer: Renderer, style: str, seed: int
) -> TrainRow:
    """One answer turn from the ideal final memory: option order number `order`, or open-ended if that is None."""
    options, letter = lettered(question, seed, order) if order is not None else (None, None)
    return _row(
        renderer,
        answer_prompt(style, final, question.user_query, options),
        ideal_answer(question, style, options, letter),
    )


def schedule(
    histories: Sequence[History],
    questions: Sequence[Question],
    renderer: Renderer,
    memory: MemoryConfig,
    config: SftConfig,
) -> list[TrainRow]:
    """The `steps * batch_size` rows of the run: write and answer turns in the asked-for shares, each kind going through
    all its rows before any comes again; a question comes back with its options in another order."""
    writes = write_rows(histories, renderer, memory)
    finals = {history.person_id: ideal_memories(history, [history.messages])[-1] for history in histories}
    write_stream = endless(writes, config.seed, "write rows")
    choice_stream = endless(questions, config.seed, "choice rows")
    open_stream = endless(questions, config.seed, "open rows")
    draw = rng(config.seed, "sft kinds")
    rows = []
    for _ in range(config.steps * config.batch_size):
        if draw.random() < config.write_share:
            rows.append(next(write_stream)[1])
            continue
        is_open = draw.random() < config.open_share
        epoch, question = next(open_stream if is_open else choice_stream)
        order = None if is_open else epoch
        rows.append(answer_row(question, finals[question.person_id], order, renderer, memory.prompts, config.seed))
    return rows


def _row(renderer: Renderer, prompt: str, target: str) -> TrainRow:
    return TrainRow(tuple(renderer.prompt_ids(prompt)), tuple(renderer.completion_ids(target)))


def main(job: StageJob, progress: Progress) -> StageResult:
    """Fine-tune the base model; see the module's docstring."""
    store, config, memory = Store(job.store), job.preset.sft, job.preset.memory
    histories = read_histories(store, "training_dataset", job.inputs["training_dataset"])
    questions = read_questions(store, "training_dataset", job.inputs["training_dataset"])
    model, tokenizer = load_model(checkpoint_directory(job, "base_model"))
    renderer = Renderer(tokenizer)
    rows = schedule(histories, questions, renderer, memory, config)
    over = sum(len(row.completion_ids) > memory.memory_tokens for row in rows)
    progress.say("%d rows of %d persons, %d of them over the memory cap", len(rows), len(histories), over)
    scratch = job.scratch_directory()
    fit_config = FitConfig(
        steps=config.steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        warmup_share=config.warmup_share,
        max_grad_norm=config.max_grad_norm,
        save_steps=config.save_steps,
        seed=config.seed,
    )
    log = MetricsLog(job, "sft")
    fit(model, tokenizer, rows, fit_config, scratch, progress, on_log=log)
    version = save_checkpoint(job, model, tokenizer, config, {"rows": len(rows), "steps": config.steps})
    drop_steps(scratch)
    return StageResult(
        kind=KIND,
        version=version,
        metrics={"loss": log.last("loss"), "rows": len(rows), "rows_over_cap": over},
        paths={"checkpoint": str(store.path(KIND, version)), "curves": str(log.plot("loss")), "metrics": str(log.path)},
    )


if __name__ == "__main__":
    run_stage(main)
