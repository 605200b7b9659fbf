"""`MemoryGRPOTrainer`: TRL's GRPO over rollouts that are several conversations.

    prompt batch -> rollouts (write turns + answer) -> TRL scores the answers and computes one advantage per rollout
                 -> one row per turn -> micro-batches of constant row count -> TRL's own loss

The stock step sees the final answer as "the completion", so rewards, groups, `None` rewards and logging are TRL's; only
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

from personamem_pipeline.memory.episode import plan_chunks
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.generators.transformers import TORCH_SEEDS
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.records import Message
from personamem_pipeline.seeds import stable_int
from personamem_pipeline.training.grpo.curriculum import Item
from personamem_pipeline.training.grpo.rollouts import PolicyGenerator, Rollout, run_rollouts
from personamem_pipeline.training.grpo.rows import Row, plan_micro_batches, trainable_tokens, weigh_turns_equally


class MemoryGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPO in which a rollout is `write, ..., write, answer`, each turn a conversation and a row of its own.

    Args:
        items: the whole curriculum, in order; the dataset's rows are indices into it.
        histories: person id -> messages, what the write turns read.
        memory: the protocol (chunk size, caps, prompts).
        aggregation: what weighs the same in the loss, tokens or turns (`rows.weigh_turns_equally`).
        rollouts_per_step: N, on this rank; a multiple of `num_generations` divided by the number of ranks.
        on_rollouts: called once per step with the rollouts and their advantages, for logs and tables.
    """

    def __init__(
        self,
        *,
        items: Sequence[Item],
        histories: Mapping[str, Sequence[Message]],
        memory: MemoryConfig,
        renderer: Renderer,
        rollouts_per_step: int,
        aggregation: Literal["token", "row"] = "token",
        on_rollouts: Callable[[int, Sequence[Rollout], Sequence[float]], None] = lambda step, rollouts, advantages: (
            None
        ),
        args: GRPOConfig,
        **kwargs: Any,
    ) -> None:
        self.items, self.histories, self.memory = items, histories, memory
        self.renderer, self.rollouts_per_step, self.on_rollouts = renderer, rollouts_per_step, on_rollouts
        self.aggregation = aggregation
        self.rollouts: list[Rollout] = []
        self._buffered_inputs: list[dict[str, torch.Tensor]] | None = None
        self.batch_items: list[Item] = []
        check_token_limits(items, histories, PolicyGenerator(renderer, self._sample), memory)
        super().__init__(args=args, rollout_func=self._roll_out, processing_class=renderer.tokenizer, **kwargs)

    # ---- one optimizer step = one batch of rollouts (TRL counts rows; a rollout is several)

    def get_train_dataloader(self) -> DataLoader[Any]:
        return self._get_dataloader(
            dataset=self.train_dataset,
            description="Training",
            batch_size=self.rollouts_per_step,
            sampler_fn=self._get_train_sampler,
            is_training=True,
        )

    def _get_train_sampler(self, dataset: Any = None) -> Sampler[Any]:
        return RepeatSampler(
            data_source=self.train_dataset if dataset is None else dataset,
            mini_repeat_count=self.num_generations,
            batch_size=self.rollouts_per_step * self.accelerator.num_processes // self.num_generations,
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
        self.rollouts = run_rollouts(
            self.batch_items,
            [self.histories[item.question.person_id] for item in self.batch_items],
            PolicyGenerator(self.renderer, self._sample),
            self.memory,
            temperature=self.args.temperature,
            seed=stable_int(self.args.seed, "rollout", self.state.global_step, self.accelerator.process_index),
        )
        self._metrics["train"]["time/generate"].append(time.monotonic() - started)
        return {
            "prompt_ids": [list(rollout.answer.prompt_ids) for rollout in self.rollouts],
            "completion_ids": [list(rollout.answer.token_ids) for rollout in self.rollouts],
            "logprobs": None,
        }

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
        advantages = [float(value) for value in scored["advantages"].tolist()]
        rows = [
            Row(turn.prompt_ids, turn.token_ids, advantage)
            for rollout, advantage in zip(self.rollouts, advantages, strict=True)
            for turn in (*(write.generation for write in rollout.turns), rollout.answer)
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


def rows_per_rollout(
    histories: Mapping[str, Sequence[Message]], generator: PolicyGenerator, memory: MemoryConfig
) -> int:
    """T: write turns of the longest history, plus the answer."""
    return 1 + max(len(plan_chunks(messages, generator, memory)) for messages in histories.values())


def check_token_limits(
    items: Sequence[Item],
    histories: Mapping[str, Sequence[Message]],
    generator: PolicyGenerator,
    memory: MemoryConfig,
) -> None:
    """Refuse at the start what would fail in the middle: a history with more chunks than the protocol allows."""
    for person_id in {item.question.person_id for item in items}:
        chunks = len(plan_chunks(histories[person_id], generator, memory))
        if chunks > memory.max_chunks:
            raise ValueError(
                f"{person_id}: {chunks} chunks, but memory.max_chunks is {memory.max_chunks}; raise it, or chunk_tokens"
            )
