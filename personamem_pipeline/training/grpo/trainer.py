"""`MemoryGRPOTrainer`: TRL's GRPO over rollouts that are several conversations.

    prompt batch -> rollouts (write turns + answers) -> TRL centres the answers' rewards over their groups
                 -> credit: one row per turn -> micro-batches of constant row count -> TRL's own loss

The stock step sees final answers as "the completions", so groups, `None` rewards and logging are TRL's; only then the
write turns are added as rows. With no write turns this is stock GRPO (held by a test). Written against TRL 1.16's private
methods `_prepare_inputs`, `_generate_and_score_completions`, `_generate_single_turn` and
`_get_per_token_logps_and_entropies`; the version is pinned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler
from trl import GRPOConfig
from trl.trainer.utils import RepeatSampler

from personamem_pipeline.errors import UserError
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.generators.transformers import TORCH_SEEDS
from personamem_pipeline.presets import GrpoConfig, MemoryConfig
from personamem_pipeline.records import History
from personamem_pipeline.training.grpo.credit import answers_of, centred, counted, rollout_rows, without_residue
from personamem_pipeline.training.grpo.curriculum import Item
from personamem_pipeline.training.grpo.rolling import Rewards, RolloutTrainer
from personamem_pipeline.training.grpo.rollouts import Rollout
from personamem_pipeline.training.grpo.rows import plan_micro_batches, weigh
from personamem_pipeline.training.grpo.scored import ScoredRollout
from personamem_pipeline.training.grpo.watch import Means, observe
from personamem_pipeline.training.labels import ChunkLabels, chunk_labels
from personamem_pipeline.training.rewards.compose import memory_rewards

OnRollouts = Callable[[int, Sequence[ScoredRollout]], None]
"""(number of the optimizer step, from 1; this rank's rollouts with all that is known about their worth)."""


class MemoryGRPOTrainer(RolloutTrainer):
    """GRPO in which a rollout is `write, ..., write, answers`, each turn a conversation and a row of its own.

    Args:
        items: the whole curriculum, in order; the dataset's rows are indices into it. Its blocks of
            `config.questions_per_memory` items are about one person each (`credit`).
        histories: person id -> history, what the write turns read.
        memory: the protocol (chunk size, caps, prompts).
        config: the figures of training; `args` are TRL's, made from them.
        rewards: pays answers, all of a step in one call.
        most_writes: write turns of the longest history (`limits.most_chunks`).
        on_rollouts: called once per step with the scored rollouts of this rank, for logs and tables.
        stop: asked between generations and micro-steps; true on any rank raises `StopTraining` on all.
    """

    def __init__(
        self,
        *,
        items: Sequence[Item],
        histories: Mapping[str, History],
        memory: MemoryConfig,
        config: GrpoConfig,
        renderer: Renderer,
        rewards: Rewards,
        most_writes: int,
        on_rollouts: OnRollouts = lambda step, rollouts: None,
        stop: Callable[[], bool] = lambda: False,
        args: GRPOConfig,
        **kwargs: Any,
    ) -> None:
        self.items, self.histories, self.memory, self.config = items, histories, memory, config
        self.renderer, self.rewards, self.on_rollouts, self.stop = renderer, rewards, on_rollouts, stop
        self.most_writes = most_writes
        self.means = Means()
        self._labels: dict[str, list[ChunkLabels]] = {}
        self._buffered_inputs: list[dict[str, torch.Tensor]] | None = None
        super().__init__(
            args=args,
            rollout_func=self._roll_out,
            reward_funcs=[self._reward],
            processing_class=renderer.tokenizer,
            **kwargs,
        )
        if self.accelerator.num_processes != config.processes:
            raise UserError(
                f"{self.accelerator.num_processes} processes run, the preset's grpo.processes is {config.processes}",
                remedy="start it with `accelerate launch` or personamem_pipeline.training.launcher, or change the preset",
            )
        self.keep_start()
        self.time_syncs()

    # ---- one optimizer step = one batch of rollouts (TRL counts rows; a rollout is several)

    def get_train_dataloader(self) -> DataLoader[Any]:
        return self._get_dataloader(
            dataset=self.train_dataset,
            description="Training",
            batch_size=self.config.answers,
            sampler_fn=self._get_train_sampler,
            is_training=True,
        )

    def _get_train_sampler(self, dataset: Any = None) -> Sampler[Any]:
        return RepeatSampler(
            data_source=self.train_dataset if dataset is None else dataset,
            mini_repeat_count=self.num_generations,
            batch_size=self.config.answers * self.accelerator.num_processes // self.num_generations,
            repeat_count=self.num_iterations * self.args.steps_per_generation,
            shuffle=False,
            seed=self.args.seed,
        )

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        if not self.model.training:
            raise NotImplementedError("evaluate with personamem_pipeline.evaluation, which rolls out without a loss")
        window = self.args.steps_per_generation * self.num_iterations
        if self._step % window == 0 or self._buffered_inputs is None:
            # From the seed and the step alone: a resumed run draws what the unbroken one would have drawn.
            torch.manual_seed(self._seed("step") % TORCH_SEEDS)
            self._buffered_inputs = self._rows(generation_batch)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    # ---- rows

    def _rows(self, generation_batch: list[dict[str, Any]]) -> list[dict[str, torch.Tensor]]:
        self.batch_items = [self.items[example["item"]] for example in generation_batch]
        beta, self.beta = self.beta, 0.0  # the rows get log-probabilities of the start, answers among them
        advantages = [float(a) for a in self._generate_and_score_completions(generation_batch)["advantages"].tolist()]
        self.beta = beta
        totals = [reward.total for reward in self.answer_rewards]
        scored = self._scored(without_residue(advantages, totals, self.num_generations))
        counts = counted(totals, self.num_generations)
        self.means.merge(observe(scored, group=self.num_generations, memory_tokens=self.memory.memory_tokens))
        self._together(lambda: self.on_rollouts(self.state.global_step + 1, scored))
        group = self.num_generations
        rows = [
            row
            for number, own in enumerate(scored)
            for row in rollout_rows(
                number,
                own.rollout,
                own.advantages,
                [counts[position] for position in answers_of(number, group, self.config.questions_per_memory)],
                turn_advantages=own.turn_advantages,
                credit=self.config.answer_credit,
                mask_overlong=self.config.mask_overlong,
            )
        ]
        longest = (
            self.most_writes * self.memory.memory_tokens + self.config.questions_per_memory * self.memory.answer_tokens
        )
        rows, part = weigh(rows, self.config.aggregation, longest)
        device = self.accelerator.device
        denominator = self.accelerator.reduce(torch.tensor(part, dtype=torch.float64, device=device)).float()
        micro = self.args.per_device_train_batch_size
        self.means.add("tokens/step", sum(row.size for row in rows))
        self.means.add("rows/total", len(rows))
        self.means.add("rows/without_advantage", sum(row.advantage == 0.0 for row in rows), len(rows))
        batches = plan_micro_batches(
            rows,
            total=micro * self.args.steps_per_generation,
            micro=micro,
            pad_id=self.renderer.pad_id,
            drop=self.beta == 0.0,
        )
        return [self._on_device(batch, denominator) for batch in batches]

    def _scored(self, advantages: Sequence[float]) -> list[ScoredRollout]:
        group, questions = self.num_generations, self.config.questions_per_memory
        labels = [self._labels_of(rollout) for rollout in self.rollouts]
        turns = [
            memory_rewards(rollout.turns, own, self.config.rewards, self.memory.memory_tokens, self.state.global_step)
            for rollout, own in zip(self.rollouts, labels, strict=True)
        ]
        turn_advantages = centred([[turn.total for turn in own] for own in turns], group)
        places = [answers_of(number, group, questions) for number in range(len(self.rollouts))]
        return [
            ScoredRollout(
                rollout=rollout,
                labels=tuple(labels[number]),
                answers=tuple(self.answer_rewards[position] for position in places[number]),
                advantages=tuple(advantages[position] for position in places[number]),
                turns=tuple(turns[number]),
                turn_advantages=tuple(turn_advantages[number]),
            )
            for number, rollout in enumerate(self.rollouts)
        ]

    def _labels_of(self, rollout: Rollout) -> list[ChunkLabels]:
        person = rollout.items[0].question.person_id
        if person not in self._labels:
            self._labels[person] = chunk_labels(self.histories[person], [turn.chunk for turn in rollout.turns])
        return self._labels[person]

    def _on_device(self, batch: dict[str, torch.Tensor], denominator: torch.Tensor) -> dict[str, torch.Tensor]:
        moved = {key: value.to(self.accelerator.device) for key, value in batch.items()}
        return {**moved, "num_items_in_batch": denominator, **self.start_logps(moved)}
