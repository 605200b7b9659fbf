"""The gradient of `MemoryGRPOTrainer` is the policy gradient: by hand, however rows are split, and as stock TRL's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import Qwen3ForCausalLM
from trl import GRPOTrainer

from personamem_pipeline.errors import UserError
from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.presets import LoraConfig
from personamem_pipeline.seeds import rng
from personamem_pipeline.training.grpo.curriculum import Item
from personamem_pipeline.training.grpo.run import StopTraining
from personamem_pipeline.training.grpo.trainer import MemoryGRPOTrainer
from personamem_pipeline.training.lora import with_adapters
from personamem_pipeline.training.rewards.records import AnswerReward
from tests.training.conftest import MEMORY, worth
from tests.training.harness import GROUP, PROMPTS, Capture, arguments, assert_equal, by_hand, grpo_config, train

Policy = Callable[[], Any]
AGGREGATIONS = ("token", "trajectory", "constant", "row")
LONGEST = 4 * MEMORY.memory_tokens + MEMORY.answer_tokens


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("lengths", [(1, 4, 2), (4, 4, 4)])
def test_the_gradient_is_the_hand_written_one(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path, lengths: Sequence[int], aggregation: str
) -> None:
    step = train(policy(), items, renderer, tmp_path, lengths, aggregation=aggregation, writes=4)
    by = by_hand(policy(), step.scored, aggregation=aggregation, longest=LONGEST)
    assert_equal(step.gradients[0], by)


class Ending(MemoryGRPOTrainer):
    """Ends most replies early: a random model hardly ever does, and then no memory is ever kept."""

    def _sample(self, rows: Any, max_tokens: int, temperature: float, seed: int) -> Any:
        ids, chances = super()._sample(rows, max_tokens, temperature, seed)
        draw, end = rng(seed, "endings"), self.renderer.eos_id
        return [own if draw.random() < 0.3 else [*own[: draw.randrange(1, len(own))], end] for own in ids], chances


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_the_gradient_is_the_hand_written_one_where_memories_are_carried_on(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path, aggregation: str
) -> None:
    step = train(
        policy(), items, renderer, tmp_path, (2, 4, 3), aggregation=aggregation, trainer=Ending, weights={"length": 0.5}
    )
    turns = [turn for own in step.scored for turn in own.rollout.turns]
    assert any(turn.memory and not turn.kept for turn in turns) and any(turn.kept for turn in turns)
    by = by_hand(policy(), step.scored, aggregation=aggregation, longest=LONGEST)
    assert_equal(step.gradients[0], by)


def test_new_adapters_with_a_pull_to_the_start_are_saved_alone(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    policy().save_pretrained(tmp_path / "start")
    model = with_adapters(Qwen3ForCausalLM.from_pretrained(tmp_path / "start"), LoraConfig(rank=2), seed=1)
    step = train(model, items, renderer, tmp_path, (1, 4, 2), writes=4, beta=0.5, steps=2, learning_rate=1e-2)
    assert list(step.trainer.accelerator.unwrap_model(step.trainer.model).peft_config) == ["default"]
    first, second = step.trainer.state.log_history[:2]
    assert first["kl_to_start"] == pytest.approx(0, abs=1e-6)
    assert second["kl_to_start"] > 1e-6


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_in_float64_it_is_the_hand_written_one_to_the_last_digits(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path, aggregation: str
) -> None:
    step = train(policy().double(), items, renderer, tmp_path, (1, 4, 2), aggregation=aggregation, writes=4)
    by = by_hand(policy().double(), step.scored, aggregation=aggregation, longest=LONGEST)
    assert_equal(step.gradients[0], by, tolerance=1e-8)


@pytest.mark.parametrize("figures", [{"micro_batch_rows": 16}, {"micro_batch_rows": 1}, {"writes": 9}])
def test_splitting_rows_otherwise_and_more_dummies_change_nothing(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path, figures: dict[str, int]
) -> None:
    one = train(policy(), items, renderer, tmp_path / "a", (1, 4, 2))
    other = train(policy(), items, renderer, tmp_path / "b", (1, 4, 2), **figures)
    assert_equal(one.gradients[0], other.gradients[0])
    assert [own.rollout.turns for own in one.scored] == [own.rollout.turns for own in other.scored]


def test_the_order_of_rows_changes_nothing(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = train(policy(), items, renderer, tmp_path / "a", (1, 4, 2))
    monkeypatch.setattr(
        "personamem_pipeline.training.grpo.rows.Row.size", property(lambda row: sum(row.prompt_ids) % 7)
    )
    other = train(policy(), items, renderer, tmp_path / "b", (1, 4, 2))
    assert_equal(one.gradients[0], other.gradients[0])


def test_one_question_gives_one_advantage_per_rollout_that_sums_to_zero_in_each_group(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    scored = train(policy(), items, renderer, tmp_path, (1, 4, 2), writes=4).scored
    assert len(scored) == PROMPTS * GROUP
    for start in range(0, len(scored), GROUP):
        group = scored[start : start + GROUP]
        assert sum(own.advantages[0] for own in group) == pytest.approx(0, abs=1e-6)
        assert len({id(own.rollout.items[0]) for own in group}) == 1


@pytest.mark.parametrize("credit", ["share", "own"])
def test_several_questions_share_a_memory_and_its_gradient(
    policy: Policy, two_of_one_person: list[Item], renderer: Renderer, tmp_path: Path, credit: str
) -> None:
    step = train(policy(), two_of_one_person, renderer, tmp_path, (3,), questions_per_memory=2, answer_credit=credit)
    assert len(step.scored) == GROUP, "one memory for two questions"
    assert all([item.question.question_id for item in own.rollout.items] == ["t0.q0", "t0.q1"] for own in step.scored)
    assert any(abs(own.advantages[0] - own.advantages[1]) > 1e-3 for own in step.scored), "they tell different things"
    assert_equal(step.gradients[0], by_hand(policy(), step.scored, own=credit == "own"))


def test_an_answer_nobody_could_score_is_left_out_of_its_memorys_credit(
    policy: Policy, two_of_one_person: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    def fails_on_one(items: Sequence[Item], answers: Sequence[Generation]) -> list[AnswerReward]:
        return [
            AnswerReward({}, worth(answer.text) if item.letter is None else None)
            for item, answer in zip(items, answers, strict=True)
        ]

    step = train(policy(), two_of_one_person, renderer, tmp_path, (3,), questions_per_memory=2, rewards=fails_on_one)
    (failed,) = [number for number, item in enumerate(step.scored[0].rollout.items) if item.letter is not None]
    assert all(own.advantages[failed] == 0 for own in step.scored)
    assert_equal(step.gradients[0], by_hand(policy(), step.scored))


def test_a_rollout_nobody_could_score_moves_nothing_and_no_baseline(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    def fails_on_the_first(items: Sequence[Item], answers: Sequence[Generation]) -> list[AnswerReward]:
        totals: list[float | None] = [worth(answer.text) for answer in answers]
        totals[0] = None
        return [AnswerReward({}, total) for total in totals]

    step = train(policy(), items, renderer, tmp_path, (1, 4, 2), writes=4, rewards=fails_on_the_first)
    first, *others = step.scored[:GROUP]
    assert first.advantages == (0.0,)
    assert sum(own.advantages[0] for own in others) == pytest.approx(0, abs=1e-6)
    assert_equal(step.gradients[0], by_hand(policy(), step.scored))


def test_groups_that_all_do_equally_well_have_no_gradient(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    def one(items: Sequence[Item], answers: Sequence[Generation]) -> list[AnswerReward]:
        return [AnswerReward({"choice": 1.0}, 1.0) for _ in answers]

    step = train(policy(), items, renderer, tmp_path, (1, 4, 2), writes=4, rewards=one)
    assert all(value.abs().max() == 0 for value in step.gradients[0].values())
    assert step.trainer.state.log_history[0]["groups/zero_variance"] == 1.0
    assert step.trainer.state.log_history[0]["rows/without_advantage"] == 1.0


def test_rewards_of_memories_reach_their_own_turn_only(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    step = train(policy(), items, renderer, tmp_path, (2, 4, 3), writes=4, weights={"length": 1.0})
    extras = [own.turn_advantages for own in step.scored]
    assert any(abs(value) > 0 for own in extras for value in own), "some memory ran over and some did not"
    for start in range(0, len(extras), GROUP):
        for turn in zip(*extras[start : start + GROUP], strict=True):
            assert sum(turn) == pytest.approx(0, abs=1e-9)
    assert_equal(step.gradients[0], by_hand(policy(), step.scored))


def test_an_answer_that_was_cut_off_is_scored_but_not_learned_from(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    step = train(policy(), items, renderer, tmp_path, (1, 4, 2), writes=4, mask_overlong=True, trainer=Ending)
    cut = [not reply.finished for own in step.scored for reply in own.rollout.answers]
    assert any(cut) and not all(cut)
    assert any(own.advantages[0] for own, over in zip(step.scored, cut, strict=True) if over), (
        "it counts for its memory"
    )
    assert_equal(step.gradients[0], by_hand(policy(), step.scored, mask_overlong=True))


def test_without_write_turns_it_is_stock_grpo(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    ours = train(policy(), items, renderer, tmp_path / "a", (0, 0, 0))
    assert all(not own.rollout.turns for own in ours.scored)
    replies = [own.rollout.answers[0] for own in ours.scored]

    def replay(prompts: list[str], trainer: Any) -> dict[str, Any]:
        return {
            "prompt_ids": [list(reply.prompt_ids) for reply in replies],
            "completion_ids": [list(reply.token_ids) for reply in replies],
            "logprobs": None,
        }

    def reward(prompts: Any, completions: Sequence[str], **_: Any) -> list[float]:
        return [worth(text) for text in completions]

    capture = Capture()
    stock = GRPOTrainer(
        model=policy(),
        args=arguments(grpo_config(), tmp_path / "b", 0, max_completion_length=MEMORY.answer_tokens),
        train_dataset=Dataset.from_list([{"prompt": item.question.user_query} for item in items]),
        reward_funcs=[reward],
        rollout_func=replay,
        processing_class=copy.deepcopy(renderer.tokenizer),
        callbacks=[capture],
    )
    stock.train()
    assert_equal(ours.gradients[0], capture.steps[0])
    for name in ("loss", "reward", "grad_norm", "completions/mean_length"):
        assert ours.trainer.state.log_history[0][name] == pytest.approx(stock.state.log_history[0][name], abs=1e-6)


class Disturbed(MemoryGRPOTrainer):
    """Fills masked completion columns with another token. (That prompts have no gradient, `by_hand` shows: it has none.)"""

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        batch = dict(super()._prepare_inputs(generation_batch))
        mask = batch["completion_mask"].bool()
        batch["completion_ids"] = torch.where(
            mask, batch["completion_ids"], torch.full_like(batch["completion_ids"], 7)
        )
        return batch


def test_masked_tokens_have_no_gradient(policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path) -> None:
    one = train(policy(), items, renderer, tmp_path / "a", (1, 4, 2), writes=4)
    other = train(policy(), items, renderer, tmp_path / "b", (1, 4, 2), writes=4, trainer=Disturbed)
    assert_equal(one.gradients[0], other.gradients[0], tolerance=1e-7)


def test_two_passes_over_one_batch_start_at_ratio_one_and_without_a_pull_to_the_start(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    policy().save_pretrained(tmp_path / "start")  # TRL loads its own reference model from there
    model = Qwen3ForCausalLM.from_pretrained(tmp_path / "start")
    step = train(
        model, items, renderer, tmp_path, (1, 4, 2), writes=4, steps=2, beta=0.5, learning_rate=1e-2,
        trl={"num_iterations": 2},
    )  # fmt: skip
    assert len(step.scored) == PROMPTS * GROUP, "the second step repeats the first one's rollouts"
    # The policy is the start: the KL term's gradient is zero, and the first pass is plain REINFORCE.
    assert_equal(step.gradients[0], by_hand(policy(), step.scored), tolerance=5e-6)
    first, second = step.trainer.state.log_history[:2]
    assert first["kl_to_start"] == pytest.approx(0, abs=1e-6) and first["clip_ratio/region_mean"] == 0
    assert second["kl_to_start"] > 1e-5
    assert max((a - b).abs().max() for a, b in zip(*map(dict.values, step.gradients), strict=True)) > 1e-4


class FromAnEngine(MemoryGRPOTrainer):
    """Claims the sampled tokens' log-probabilities as `claim` says; itself it samples."""

    off_by = 0.0

    def _sample(self, rows: Any, max_tokens: int, temperature: float, seed: int) -> Any:
        ids, _ = super()._sample(rows, max_tokens, temperature, seed)
        return ids, [[float("nan")] * len(own) for own in ids]

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        batch = super()._prepare_inputs(generation_batch)
        with torch.no_grad():
            fresh = self._logps(self.model, batch)
        batch["sampling_per_token_logps"] = torch.where(batch["completion_mask"].bool(), fresh - self.off_by, torch.nan)
        return batch


class HalfAsLikely(FromAnEngine):
    off_by = 0.25


def test_the_correction_for_another_sampler_is_one_for_our_own_and_a_factor_for_another(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    own = train(policy(), items, renderer, tmp_path / "a", (1, 4, 2), writes=4)
    same = train(policy(), items, renderer, tmp_path / "b", (1, 4, 2), writes=4, trainer=FromAnEngine)
    assert_equal(own.gradients[0], same.gradients[0])
    assert same.trainer.state.log_history[0]["sampling/ratio"] == pytest.approx(1, abs=1e-5)
    half = train(policy(), items, renderer, tmp_path / "c", (1, 4, 2), writes=4, trainer=HalfAsLikely)
    factor = torch.exp(torch.tensor(0.25))
    assert_equal({name: value * factor for name, value in own.gradients[0].items()}, half.gradients[0], tolerance=5e-6)
    clipped = train(
        policy(), items, renderer, tmp_path / "d", (1, 4, 2), writes=4, trainer=HalfAsLikely, importance_clip=1.1
    )
    assert_equal({name: value * 1.1 for name, value in own.gradients[0].items()}, clipped.gradients[0], tolerance=5e-6)


def test_trimmed_log_probabilities_equal_padded_ones(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    trimmed = train(policy(), items, renderer, tmp_path / "a", (1, 4, 2), micro_batch_rows=1)
    rows = trimmed.trainer._buffered_inputs or []
    padded = train(policy(), items, renderer, tmp_path / "b", (1, 4, 2), micro_batch_rows=40, writes=4)
    together = (padded.trainer._buffered_inputs or [])[0]
    model = padded.trainer.model
    with torch.no_grad():
        whole = padded.trainer._logps(model, together)
        real = [row for row in rows if int(row["completion_mask"].sum())]
        assert len(real) > 4
        for number, row in enumerate(real):
            own = padded.trainer._logps(model, row)[0]
            torch.testing.assert_close(own, whole[number, : len(own)], atol=1e-5, rtol=1e-5)


def test_a_stop_leaves_the_model_at_the_last_whole_step(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    calls = iter(range(10**6))
    model = policy()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    class Stopped(MemoryGRPOTrainer):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**{**kwargs, "stop": lambda: next(calls) > 6})

    with pytest.raises(StopTraining):
        train(model, items, renderer, tmp_path, (1, 4, 2), writes=4, trainer=Stopped, learning_rate=0.1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_gradient_that_is_no_number_stops_training_before_the_step(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    def infinite(items: Sequence[Item], answers: Sequence[Generation]) -> list[AnswerReward]:
        return [AnswerReward({}, float("inf") if i % 2 else 1.0) for i, _ in enumerate(answers)]

    model = policy()
    with pytest.raises(UserError, match=r"the gradient of optimizer step 1 is nan(.|\n)*learning_rate"):
        train(model, items, renderer, tmp_path, (1, 4, 2), writes=4, rewards=infinite)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_another_number_of_processes_than_the_preset_asks_for_is_refused(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"1 processes run, the preset's grpo\.processes is 2"):
        train(policy(), items, renderer, tmp_path, (1, 4, 2), writes=4, processes=2)


def test_a_step_whose_open_answers_nobody_judged_is_not_taken(
    policy: Policy, items: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    def silent(items: Sequence[Item], answers: Sequence[Generation]) -> list[AnswerReward]:
        return [
            AnswerReward({}, None if item.letter is None else worth(answer.text))
            for item, answer in zip(items, answers, strict=True)
        ]

    assert any(item.letter is None for item in items[:PROMPTS])
    with pytest.raises(UserError, match="the judge scored none of the open answers of optimizer step 1"):
        train(policy(), items, renderer, tmp_path, (1, 4, 2), writes=4, rewards=silent)
