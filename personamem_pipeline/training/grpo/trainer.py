"""`MemoryGRPOTrainer`: TRL's GRPO over rollouts that are several conversations.

    prompt batch -> rollouts (write turns + answers) -> TRL scores the answers and computes one advantage per answer
                 -> credit: one row per turn -> micro-batches of constant row count -> TRL's own loss

The stock step sees final answers as "the completions", so rewards, groups, `None` rewards and logging are TRL's; only
then the write turns are added as rows. With no write turns this is stock GRPO (held by a test). Written against TRL 1.16's
private methods `_prepare_inputs` and `_generate_and_score_completions`; the version is pinned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Sampler
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import RepeatSampler

from personamem_pipeline.errors import UserError
from personamem_pipeline.memory.episode import plan_chunks
from personamem_pipeline.memory.generators.base import Generator
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.generators.transformers import TORCH_SEEDS
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.records import Message
from personamem_pipeline.seeds import stable_int
from personamem_pipeline.training.grpo.credit import answers_of, rollout_of, rollout_rows
from personamem_pipeline.training.grpo.curriculum import Item
from personamem_pipeline.training.grpo.rollouts import PolicyGenerator, Rollout, run_rollouts
from personamem_pipeline.training.grpo.rows import Row, plan_micro_batches, trainable_tokens, weigh_turns_equally

OnRollouts = Callable[[int, Sequence[Rollout], Sequence[Sequence[float]]], None]
"""(optimizer step, rollouts, each rollout's advantages: one per answer)."""


class MemoryGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPO in which a rollout is `write, ..., write, answers`, each turn a conversation and a row of its own.

    Args:
        items: the whole curriculum, in order; the dataset's rows are indices into it.
        histories: person id -> messages, what the write turns read.
        memory: the protocol (chunk size, caps, prompts).
        aggregation: what weighs the same in the loss, tokens or turns (`rows.weigh_turns_equally`).
        answers_per_step: on this rank. With several questions per memory, a multiple of
            `questions_per_memory * num_generations`, so that no memory's answers are spread over ranks.
        questions_per_memory: M; the curriculum's blocks of M items are about one person each (`credit`).
        on_rollouts: called once per step with the rollouts and their answers' advantages, for logs and tables.
    """

    def __init__(
        self,
        *,
        items: Sequence[Item],
        histories: Mapping[str, Sequence[Message]],
        memory: MemoryConfig,
        renderer: Renderer,
        answers_per_step: int,
        questions_per_memory: int = 1,
        aggregation: Literal["token", "row"] = "token",
        on_rollouts: OnRollouts = lambda step, rollouts, advantages: None,
        args: GRPOConfig,
        **kwargs: Any,
    ) -> None:
        self.items, self.histories, self.memory = items, histories, memory
        self.renderer, self.answers_per_step, self.on_rollouts = renderer, answers_per_step, on_rollouts
        self.questions_per_memory, self.aggregation = questions_per_memory, aggregation
        if questions_per_memory > 1 and answers_per_step % (questions_per_memory * args.num_generations):
            raise ValueError(
                f"{answers_per_step} answers per step are not whole groups of {questions_per_memory} questions x "
                f"{args.num_generations} rollouts; change prompts_per_step, rollouts or questions_per_memory"
            )
        self.rollouts: list[Rollout] = []
        self.scored: list[bool] = []
        self._buffered_inputs: list[dict[str, torch.Tensor]] | None = None
        self.batch_items: list[Item] = []
        super().__init__(args=args, rollout_func=self._roll_out, processing_class=renderer.tokenizer, **kwargs)

    # ---- one optimizer step = one batch of rollouts (TRL counts rows; a rollout is several)

    def get_train_dataloader(self) -> DataLoader[Any]:
        return self._get_dataloader(
            dataset=self.train_dataset,
            description="Training",
            batch_size=self.answers_per_step,
            sampler_fn=self._get_train_sampler,
            is_training=True,
        )

    def _get_train_sampler(self, dataset: Any = None) -> Sampler[Any]:
        return RepeatSampler(
            data_source=self.train_dataset if dataset is None else dataset,
            mini_repeat_count=self.num_generations,
            batch_size=self.answers_per_step * self.accelerator.num_processes // self.num_generations,
            repeat_count=self.num_iterations * self.args.steps_per_generation,
            shuffle=False,
            seed=self.args.seed,
        )

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        if not self.model.training:
            raise NotImplementedError("evaluate with personamem_pipeline.evaluation, which rolls out without a loss")
        window = self.args.steps_per_generation * self.num_iterations
        if self._step % window == 0 or self._buffered_inputs is None:
            self._buffered_inputs = self._rows(generation_batch)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    # ---- rollouts

    def _roll_out(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        started = time.monotonic()
        group, questions = self.num_generations, self.questions_per_memory
        blocks = [
            [self.batch_items[position] for position in answers_of(rollout, group, questions)]
            for rollout in range(len(self.batch_items) // questions)
        ]
        self.rollouts = run_rollouts(
            blocks,
            [self.histories[block[0].question.person_id] for block in blocks],
            PolicyGenerator(self.renderer, self._sample),
            self.memory,
            temperature=self.args.temperature,
            seed=stable_int(self.args.seed, "rollout", self.state.global_step, self.accelerator.process_index),
        )
        self._metrics["train"]["time/generate"].append(time.monotonic() - started)
        places = [rollout_of(position, group, questions) for position in range(len(self.batch_items))]
        replies = [self.rollouts[rollout].answers[question] for rollout, question in places]
        return {
            "prompt_ids": [list(reply.prompt_ids) for reply in replies],
            "completion_ids": [list(reply.token_ids) for reply in replies],
            "logprobs": None,
        }

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Shape (answers of all ranks, reward functions). Keeps which of this rank's answers anyone could score."""
        rewards: torch.Tensor = super()._calculate_rewards(*args, **kwargs)
        start = self.accelerator.process_index * len(self.batch_items)
        own = rewards[start : start + len(self.batch_items)]
        self.scored = [not missing for missing in torch.isnan(own).all(dim=1).tolist()]
        return rewards

    def _sample(self, rows: list[list[int]], max_tokens: int, temperature: float, seed: int) -> list[list[int]]:
        self.max_completion_length = self.generation_config.max_new_tokens = max_tokens
        # Seeded per call rather than from a running stream: a resumed run draws what the unbroken one would have drawn.
        with torch.random.fork_rng():
            torch.manual_seed(seed % TORCH_SEEDS)
            ids, _ = self._generate_single_turn(rows, None, {}, num_generations=1)
        return [list(row) for row in ids]

    # ---- rows

    def _rows(self, generation_batch: list[dict[str, Any]]) -> list[dict[str, torch.Tensor]]:
        self.batch_items = [self.items[example["item"]] for example in generation_batch]
        scored = self._generate_and_score_completions(generation_batch)
        flat = [float(value) for value in scored["advantages"].tolist()]
        places = [
            answers_of(rollout, self.num_generations, self.questions_per_memory)
            for rollout in range(len(self.rollouts))
        ]
        advantages = [[flat[position] for position in own] for own in places]
        rows = [
            row
            for rollout, own, mine in zip(self.rollouts, places, advantages, strict=True)
            for row in rollout_rows(rollout, mine, [self.scored[position] for position in own])
        ]
        self._log_rollouts(rows)
        self.on_rollouts(self.state.global_step, self.rollouts, advantages)
        device = self.accelerator.device
        if self.aggregation == "row":
            rows = weigh_turns_equally(rows)
        tokens = torch.tensor(trainable_tokens(rows), device=device)
        denominator = self.accelerator.gather(tokens).sum()
        micro = self.args.per_device_train_batch_size
        batches = plan_micro_batches(
            rows, total=micro * self.args.steps_per_generation, micro=micro, pad_id=self.renderer.pad_id
        )
        return [
            {
                **{key: value.to(device) for key, value in batch.items()},
                "num_items_in_batch": denominator,
                **self._reference(batch),
            }
            for batch in batches
        ]

    def _reference(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Log-probabilities of the starting model, where the KL term needs them; per trimmed micro-batch."""
        if self.beta == 0.0:
            return {}
        on_device = {key: value.to(self.accelerator.device) for key, value in batch.items()}
        with torch.no_grad():
            logps, *_ = self._get_per_token_logps_and_entropies(
                self.ref_model,
                torch.cat([on_device["prompt_ids"], on_device["completion_ids"]], dim=1),
                torch.cat([on_device["prompt_mask"], on_device["completion_mask"]], dim=1),
                on_device["completion_ids"].size(1),
            )
        return {"ref_per_token_logps": logps}

    def _log_rollouts(self, rows: Sequence[Row]) -> None:
        turns = [turn for rollout in self.rollouts for turn in rollout.turns]
        metrics = self._metrics["train"]
        lengths = [len(turn.generation.token_ids) for turn in turns]
        metrics["memory/mean_length"].append(sum(lengths) / max(1, len(lengths)))
        metrics["memory/kept_unfinished"].append(sum(turn.kept == "unfinished" for turn in turns) / max(1, len(turns)))
        metrics["memory/kept_empty"].append(sum(turn.kept == "empty" for turn in turns) / max(1, len(turns)))
        metrics["rows/total"].append(float(len(rows)))
        metrics["rows/without_advantage"].append(sum(row.advantage == 0.0 for row in rows) / max(1, len(rows)))


def most_chunks(histories: Mapping[str, Sequence[Message]], generator: Generator, memory: MemoryConfig) -> int:
    """Write turns of the longest history; a history with more than `memory.max_chunks` is refused before training."""
    chunks = {person: len(plan_chunks(messages, generator, memory)) for person, messages in histories.items()}
    person = max(chunks, key=lambda person: chunks[person])
    if chunks[person] > memory.max_chunks:
        raise UserError(
            f"{person}'s history has {chunks[person]} chunks, memory.max_chunks is {memory.max_chunks}",
            remedy="raise memory.max_chunks or memory.chunk_tokens in the preset",
        )
    return chunks[person]
