"""One batch of rollouts: histories are read and questions answered by the model in training, and the answers are paid.

The stock GRPO step calls `_roll_out` as its `rollout_func` and `_reward` as its reward function, both with the answers in
its own flat order (`credit.answers_of`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from accelerate.utils import gather_object

from personamem_pipeline.errors import UserError
from personamem_pipeline.memory.episode import plan_chunks
from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.generators.transformers import TORCH_SEEDS
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.records import History
from personamem_pipeline.seeds import stable_int
from personamem_pipeline.training.grpo.credit import answers_of, rollout_of
from personamem_pipeline.training.grpo.curriculum import Item
from personamem_pipeline.training.grpo.engine import Colocated, Engine, check_sync, engine_of
from personamem_pipeline.training.grpo.lockstep import EqualCalls
from personamem_pipeline.training.grpo.rollouts import PolicyGenerator, Rollout, Sampled, run_rollouts
from personamem_pipeline.training.grpo.run import RunTrainer, stoppable
from personamem_pipeline.training.rewards.records import AnswerReward

Rewards = Callable[[Sequence[Item], Sequence[Generation]], list[AnswerReward]]


class RolloutTrainer(RunTrainer):
    """Rolls out with the policy; what it made stays on it until the step's rows are built."""

    histories: Mapping[str, History]
    memory: MemoryConfig
    renderer: Renderer
    rewards: Rewards
    batch_items: Sequence[Item] = ()
    rollouts: Sequence[Rollout] = ()
    answer_rewards: Sequence[AnswerReward] = ()
    """In the flat order, as `batch_items`."""

    def _seed(self, purpose: str) -> int:
        return stable_int(self.args.seed, purpose, self.state.global_step, self.accelerator.process_index)

    def _roll_out(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        started = time.monotonic()
        group, questions = self.num_generations, self.config.questions_per_memory
        blocks = [
            [self.batch_items[position] for position in answers_of(rollout, group, questions)]
            for rollout in range(len(self.batch_items) // questions)
        ]
        histories = [self.histories[block[0].question.person_id].messages for block in blocks]
        seed, temperature = self._seed("rollout"), self.args.temperature
        calls = self._write_calls(
            histories
        )  # a collective: no rank asks an engine before rank 0 has sent it the weights
        sample = EqualCalls(
            self._sample,
            dummy=self.renderer.prompt_ids(""),
            calls=calls,
            # A model that is sharded over ranks decodes the ranks' batches as one; an engine takes each rank's own.
            rows=len(blocks) if self.engine is None and self.accelerator.num_processes > 1 else 0,
            max_tokens=self.memory.memory_tokens,
        )
        self.rollouts = run_rollouts(
            blocks,
            histories,
            PolicyGenerator(self.renderer, sample),
            self.memory,
            temperature=temperature,
            seed=seed,
            between=lambda: sample.finish(temperature, seed),
        )
        self.means.add("time/generate", time.monotonic() - started)
        if isinstance(self.engine, Colocated):
            self.means.add("tokens/cached_share", self.engine.cached_tokens, self.engine.prompt_tokens)
        replies = self._replies()
        return {
            "prompt_ids": [list(reply.prompt_ids) for reply in replies],
            "completion_ids": [list(reply.token_ids) for reply in replies],
            "logprobs": None,
        }

    def _replies(self) -> list[Generation]:
        """The answers in the flat order."""
        group, questions = self.num_generations, self.config.questions_per_memory
        places = [rollout_of(position, group, questions) for position in range(len(self.batch_items))]
        return [self.rollouts[rollout].answers[question] for rollout, question in places]

    def _write_calls(self, histories: Sequence[Any]) -> int:
        counter = PolicyGenerator(self.renderer, self._sample)
        chunks = max(len(plan_chunks(messages, counter, self.memory)) for messages in histories)
        return int(max(gather_object([chunks])))

    @cached_property
    def engine(self) -> Engine | None:
        """What samples beside the trained model. First asked for after TRL's first sync, so that this can be checked."""
        engine = engine_of(self)
        if engine is not None:
            self.means.add("sampling/probe_difference", check_sync(self, engine))
        return engine

    def time_syncs(self) -> None:
        """Measure how long weights take to reach the engine; TRL sends them once per optimizer step."""
        if self.use_vllm:
            self.vllm_generation.sync_weights = self._timed(self.vllm_generation.sync_weights)

    def _timed(self, sync: Callable[[], None]) -> Callable[[], None]:
        def timed() -> None:
            started = time.monotonic()
            sync()
            self.means.add("time/sync", time.monotonic() - started)

        return timed

    def _sample(self, rows: list[list[int]], max_tokens: int, temperature: float, seed: int) -> Sampled:
        self._stop_if_asked()
        if (engine := self.engine) is not None:
            return self._together(lambda: engine.sample(rows, max_tokens, temperature, seed))
        self.max_completion_length = self.generation_config.max_new_tokens = max_tokens
        with torch.random.fork_rng():
            torch.manual_seed(seed % TORCH_SEEDS)
            ids, _ = self._generate_single_turn(rows, None, {}, num_generations=1)
        return [list(row) for row in ids], None

    def _reward(self, prompts: Any, completions: Any, **_: Any) -> list[float | None]:
        """TRL's reward function: the answers' totals; None leaves an answer out of its group's baseline."""
        started = time.monotonic()
        replies = self._replies()
        self.answer_rewards = self._together(
            lambda: stoppable(lambda: self.rewards(self.batch_items, replies), self.stop)
        )
        self.means.add("time/judge", time.monotonic() - started)
        opened = [
            reward.total is not None
            for item, reward in zip(self.batch_items, self.answer_rewards, strict=True)
            if item.letter is None
        ]
        judged = [scored for own in gather_object([opened]) for scored in own]
        if judged and not any(judged):
            self.agreed = True
            raise UserError(
                f"the judge scored none of the open answers of optimizer step {self.state.global_step + 1}",
                expected="most of them; single failures are left out",
                remedy="see that the judging endpoint answers and has budget left; the run then goes on from here",
            )
        return [reward.total for reward in self.answer_rewards]
