"""The `grpo_checkpoint` stage: reinforcement learning of the agentic memory.

    python -m personamem_pipeline.training.grpo --job job.json

Starts from the SFT checkpoint. One optimizer step: `prompts_per_step` questions, `rollouts` memories of each history asked
about, `questions_per_memory` questions to each memory. What pays is in the preset's `grpo.rewards`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from datasets import Dataset
from transformers import PrinterCallback

from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import CHECKPOINTS
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.generators.transformers import load_model
from personamem_pipeline.passports.used import rows_used
from personamem_pipeline.progress import Interrupted, Progress
from personamem_pipeline.questions.gather import read_histories, read_questions
from personamem_pipeline.questions.judge import EndpointJudge
from personamem_pipeline.stage import run_stage
from personamem_pipeline.stage_job import StageJob, StageResult
from personamem_pipeline.store import Store
from personamem_pipeline.training.callbacks import LogSteps
from personamem_pipeline.training.checkpoints import checkpoint_directory, origins, save_checkpoint
from personamem_pipeline.training.grpo.curriculum import Item, curriculum, rows_of_steps
from personamem_pipeline.training.grpo.engine import trl_engine_options
from personamem_pipeline.training.grpo.limits import check_budgets, chunk_histories, most_chunks
from personamem_pipeline.training.grpo.options import trl_config
from personamem_pipeline.training.grpo.run import StopTraining
from personamem_pipeline.training.grpo.table import RolloutTable
from personamem_pipeline.training.grpo.trainer import MemoryGRPOTrainer
from personamem_pipeline.training.lora import with_adapters
from personamem_pipeline.training.metrics import MetricsLog
from personamem_pipeline.training.rewards.compose import AnswerRewards
from personamem_pipeline.training.rewards.stated import reward_stated
from personamem_pipeline.training.steps import last_step

TOLD = ("reward", "entropy/write", "entropy/answer", "groups/zero_variance", "memory/retained", "write/truncated")
"""What the asset's page shows, of the last step that has it."""
CURVES = (
    "reward",
    ("accuracy/*",),
    ("reward/choice", "reward/open_ended", "reward/format"),
    ("memory/retained/turn_*",),
    ("write/length", "answer/length"),
    ("entropy/write", "entropy/answer"),
    ("groups/zero_variance", "memory/change", "write/truncated"),
    ("time/*",),
)


def main(job: StageJob, progress: Progress) -> StageResult:
    """Train; see the module's docstring."""
    store, config, memory, papers = Store(job.store), job.preset.grpo, job.preset.memory, origins(job, "sft_checkpoint")
    version = job.inputs["training_dataset"]
    histories = {history.person_id: history for history in read_histories(store, "training_dataset", version)}
    items = curriculum(read_questions(store, "training_dataset", version), config)
    judge = EndpointJudge.configured(config.seed)
    rewards = AnswerRewards(config.rewards, judge)
    rewards.check_judge(items)
    model, tokenizer = load_model(checkpoint_directory(job, "sft_checkpoint"), training=True)
    renderer, scratch = Renderer(tokenizer), job.scratch_directory()
    messages = {person: history.messages for person, history in histories.items()}
    chunked = chunk_histories(messages, renderer.count, memory)
    context = model.config.max_position_embeddings
    longest = check_budgets(messages, items, renderer, memory, context, chunked=chunked)
    room = min(context, longest + memory.memory_tokens // 4)  # a memory read anew may have a few tokens more
    most_writes = most_chunks(messages, renderer.count, memory, chunked=chunked)
    log, table = MetricsLog(job, "grpo"), RolloutTable(scratch / "rollouts.jsonl")
    if config.lora:
        model = with_adapters(model, config.lora, config.seed)
    trainer = MemoryGRPOTrainer(
        model=model.train(),
        args=trl_config(config, scratch, most_writes, trl_engine_options(config, room)),
        train_dataset=prompts(items),
        items=items,
        histories=histories,
        memory=memory,
        config=config,
        renderer=renderer,
        rewards=rewards,
        most_writes=most_writes,
        on_rollouts=table.add if progress.is_main else lambda step, scored: None,
        stop=lambda: progress.stop_requested,
        callbacks=[LogSteps(progress, log, config.steps, watched="reward")],
    )
    trainer.remove_callback(PrinterCallback)
    progress.say(
        "%d steps of %d questions, %d rollouts of each; up to %d chunks and %d questions per memory",
        config.steps,
        config.prompts_per_step,
        config.rollouts,
        most_writes,
        config.questions_per_memory,
    )
    try:
        trainer.train(resume_from_checkpoint=last_step(scratch, config.processes))
    except (StopTraining, UserError) as stopped:  # the model is as it was after its last whole step
        if trainer.agreed:
            trainer.save_step()
        if isinstance(stopped, UserError):
            raise
        raise Interrupted(f"saved step {trainer.state.global_step} of {config.steps} in {scratch}") from None
    papers = replace(
        papers,
        reward=reward_stated(config.rewards, items, judge),
        rows=rows_used(rows_of_steps(items, config)),
        extra={"steps": config.steps, "curves": log.curves(("reward",))},
    )
    checkpoint = save_checkpoint(job, trainer, tokenizer, config, papers)
    if not progress.is_main:
        return StageResult(kind=CHECKPOINTS, version=checkpoint)
    return StageResult(
        kind=CHECKPOINTS,
        version=checkpoint,
        metrics={**log.newest(TOLD), "write_turns": most_writes},
        paths={
            "checkpoint": store.address(CHECKPOINTS, checkpoint),
            "curves": str(log.plot(*CURVES)),
            "metrics": str(log.path),
            "rollouts": str(table.page()),
            "rollout_rows": str(table.path),
        },
    )


def prompts(items: list[Item]) -> Dataset:
    """TRL's dataset: one row per item of the curriculum, in order."""
    rows: list[dict[str, Any]] = [{"prompt": item.question.user_query, "item": i} for i, item in enumerate(items)]
    return Dataset.from_list(rows)


if __name__ == "__main__":
    run_stage(main)
