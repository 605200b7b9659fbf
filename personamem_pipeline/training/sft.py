"""The `sft_checkpoint` stage: teach the memory-agent format.

    python -m personamem_pipeline.training.sft --job job.json

Rows are the turns of perfect episodes over the training persons (`training.targets`): each chunk with the ideal memory
before it and the ideal memory after it; each question with the ideal final memory and an answer, as multiple choice and
open-ended. They are rendered exactly as GRPO and evaluation render them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from personamem_pipeline.memory.chunking import chunk_messages
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.generators.transformers import load_model
from personamem_pipeline.memory.prompts import answer_prompt, write_prompt
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.questions.gather import read_histories, read_questions
from personamem_pipeline.questions.options import lettered
from personamem_pipeline.records import History, Question
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


def answer_rows(
    histories: Mapping[str, History], questions: Sequence[Question], renderer: Renderer, memory: MemoryConfig, seed: int
) -> list[TrainRow]:
    """Two rows per question: with options, and open-ended; both from the ideal final memory."""
    rows = []
    finals = {person: ideal_memories(history, [history.messages])[-1] for person, history in histories.items()}
    for question in questions:
        final = finals[question.person_id]
        options, letter = lettered(question, seed)
        for shown, right in ((options, letter), (None, None)):
            prompt = answer_prompt(memory.prompts, final, question.user_query, shown)
            rows.append(_row(renderer, prompt, ideal_answer(question, right)))
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
    writes = write_rows(histories, renderer, memory)
    answers = answer_rows({h.person_id: h for h in histories}, questions, renderer, memory, config.seed)
    over = sum(len(row.completion_ids) > memory.memory_tokens for row in writes)
    progress.say("%d write rows (%d over the memory cap), %d answer rows", len(writes), over, len(answers))
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
    fit(model, tokenizer, [*writes, *answers], fit_config, scratch, progress, on_log=log)
    version = save_checkpoint(
        job, model, tokenizer, config, {"rows": {"write": len(writes), "answer": len(answers)}, "steps": config.steps}
    )
    drop_steps(scratch)
    return StageResult(
        kind=KIND,
        version=version,
        metrics={"loss": log.last("loss"), "write_rows": len(writes), "answer_rows": len(answers), "over_cap": over},
        paths={"checkpoint": str(store.path(KIND, version)), "curves": str(log.plot("loss")), "metrics": str(log.path)},
    )


if __name__ == "__main__":
    run_stage(main)
