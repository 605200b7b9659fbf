"""The gradient of `MemoryGRPOTrainer` is the policy gradient: by hand, however rows are split, and as stock TRL's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from personamem_pipeline.errors import UserError
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.training.grpo.curriculum import Item
from personamem_pipeline.training.grpo.rollouts import PolicyGenerator, Rollout
from personamem_pipeline.training.grpo.trainer import MemoryGRPOTrainer, most_chunks
from tests.training.conftest import MEMORY, chat, reward

Gradients = dict[str, torch.Tensor]
GROUP, PROMPTS = 4, 2


class Capture(TrainerCallback):
    """Keeps the gradients of the first optimizer step."""

    def __init__(self) -> None:
        self.gradients: Gradients = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        model = kwargs["model"]
        if not self.gradients:
            self.gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def config(path: Path, micro: int, turns: int, **more: Any) -> GRPOConfig:
    rows = PROMPTS * GROUP * turns
    return GRPOConfig(
        output_dir=str(path), max_steps=1, per_device_train_batch_size=micro, gradient_accumulation_steps=rows // micro,
        steps_per_generation=rows // micro, num_generations=GROUP, learning_rate=0.0, max_grad_norm=1e9,
        loss_type="dapo", scale_rewards="none", shuffle_dataset=False, report_to=[], disable_tqdm=True, use_cpu=True,
        bf16=False, gradient_checkpointing=False, remove_unused_columns=False, save_strategy="no", logging_steps=1, seed=5,
        max_completion_length=MEMORY.answer_tokens, **more,
    )  # fmt: skip


def train(
    model: Any,
    items: Sequence[Item],
    renderer: Renderer,
    path: Path,
    *,
    lengths: Sequence[int],
    micro: int,
    turns: int,
    questions: int = 1,
    rewards: Any = reward,
) -> tuple[Gradients, list[Rollout], list[Sequence[float]]]:
    """One step; the gradients, the rollouts and each rollout's advantages. `turns`: rows per answer, all in all."""
    capture, seen = Capture(), {}

    def keep(step: int, rollouts: Sequence[Rollout], advantages: Sequence[Sequence[float]]) -> None:
        seen[step] = (list(rollouts), list(advantages))

    trainer = MemoryGRPOTrainer(
        model=model,
        args=config(path, micro, turns),
        train_dataset=Dataset.from_list(
            [{"prompt": item.question.user_query, "item": i} for i, item in enumerate(items)]
        ),
        reward_funcs=[rewards],
        items=items,
        histories={f"t{number}": chat(number, length) for number, length in enumerate(lengths)},
        memory=MEMORY,
        renderer=renderer,
        answers_per_step=PROMPTS * GROUP,
        questions_per_memory=questions,
        on_rollouts=keep,
        callbacks=[capture],
    )
    trainer.train()
    return capture.gradients, *seen[0]


def by_hand(
    model: Any, rollouts: Sequence[Rollout], advantages: Sequence[Sequence[float]], scored: slice = slice(None)
) -> Gradients:
    """REINFORCE with TRL's normaliser: -sum over all tokens of A * log p, divided by the number of sampled tokens.

    A write turn's A is the mean over the scored answers that its memory led to, an answer's is its part of that mean.
    """
    total, tokens = torch.zeros(()), 0
    for rollout, own in zip(rollouts, advantages, strict=True):
        parts = [advantage / len(own[scored]) for advantage in own]
        credited = [(turn.generation, sum(parts[scored])) for turn in rollout.turns]
        for turn, advantage in (*credited, *zip(rollout.answers, parts, strict=True)):
            ids = torch.tensor([[*turn.prompt_ids, *turn.token_ids]])
            logps = torch.log_softmax(model(ids).logits[0, :-1], dim=-1)
            chosen = logps[torch.arange(ids.shape[1] - 1), ids[0, 1:]][len(turn.prompt_ids) - 1 :]
            total = total - advantage * chosen.sum()
            tokens += len(turn.token_ids)
    (total / tokens).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_equal(found: Gradients, expected: Gradients, tolerance: float = 2e-6) -> None:
    assert found.keys() == expected.keys()
    assert max(value.abs().max().item() for value in expected.values()) > 1e-4, "the gradient is not nothing"
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, atol=tolerance, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("lengths", [(1, 4, 2), (4, 4, 4)])
def test_the_gradient_is_the_hand_written_one(
    policy: Callable[[], Any], items: list[Item], renderer: Renderer, tmp_path: Path, lengths: Sequence[int]
) -> None:
    model = policy()
    found, rollouts, advantages = train(model, items, renderer, tmp_path, lengths=lengths, micro=4, turns=4)
    assert_equal(found, by_hand(policy(), rollouts, advantages))


def test_splitting_rows_otherwise_changes_nothing(
    policy: Callable[[], Any], items: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    one, *_ = train(policy(), items, renderer, tmp_path / "a", lengths=(1, 4, 2), micro=4, turns=4)
    other, *_ = train(policy(), items, renderer, tmp_path / "b", lengths=(1, 4, 2), micro=16, turns=6)
    assert_equal(one, other)


def test_one_question_gives_one_advantage_per_rollout_that_sums_to_zero_in_each_group(
    policy: Callable[[], Any], items: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    _, rollouts, advantages = train(policy(), items, renderer, tmp_path, lengths=(1, 4, 2), micro=4, turns=4)
    assert len(rollouts) == len(advantages) == PROMPTS * GROUP
    for start in range(0, len(advantages), GROUP):
        assert sum(own[0] for own in advantages[start : start + GROUP]) == pytest.approx(0, abs=1e-6)
        assert len({id(rollout.items[0]) for rollout in rollouts[start : start + GROUP]}) == 1


def test_several_questions_share_a_memory_and_its_gradient(
    policy: Callable[[], Any], two_of_one_person: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    found, rollouts, advantages = train(
        policy(), two_of_one_person, renderer, tmp_path, lengths=(3,), micro=4, turns=4, questions=2
    )
    assert len(rollouts) == GROUP, "one memory for two questions"
    assert all([item.question.question_id for item in rollout.items] == ["t0.q0", "t0.q1"] for rollout in rollouts)
    assert any(abs(own[0] - own[1]) > 1e-3 for own in advantages), "the two questions tell different things"
    assert_equal(found, by_hand(policy(), rollouts, advantages))


def test_an_answer_nobody_could_score_is_left_out_of_its_memorys_credit(
    policy: Callable[[], Any], two_of_one_person: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    def fails_on_the_second(prompts: Any, completions: Sequence[str], item: list[int], **_: Any) -> list[float | None]:
        scores = reward(prompts, completions)
        return [None if index == 1 else score for index, score in zip(item, scores, strict=True)]

    found, rollouts, advantages = train(
        policy(), two_of_one_person, renderer, tmp_path, lengths=(3,), micro=4, turns=4, questions=2,
        rewards=fails_on_the_second,
    )  # fmt: skip
    assert all(own[1] == 0 for own in advantages)
    assert_equal(found, by_hand(policy(), rollouts, advantages, scored=slice(0, 1)))


def test_answers_of_one_memory_cannot_be_split_over_ranks(
    policy: Callable[[], Any], items: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="8 answers per step are not whole groups of 3 questions x 4 rollouts"):
        train(policy(), items, renderer, tmp_path, lengths=(1, 4, 2), micro=4, turns=4, questions=3)


def test_without_write_turns_it_is_stock_grpo(
    policy: Callable[[], Any], items: list[Item], renderer: Renderer, tmp_path: Path
) -> None:
    ours, rollouts, _ = train(policy(), items, renderer, tmp_path / "a", lengths=(0, 0, 0), micro=4, turns=2)
    assert all(not rollout.turns for rollout in rollouts)

    def replay(prompts: list[str], trainer: Any) -> dict[str, Any]:
        return {
            "prompt_ids": [list(rollout.answers[0].prompt_ids) for rollout in rollouts],
            "completion_ids": [list(rollout.answers[0].token_ids) for rollout in rollouts],
            "logprobs": None,
        }

    capture = Capture()
    stock = GRPOTrainer(
        model=policy(),
        args=config(tmp_path / "b", 4, 1),
        train_dataset=Dataset.from_list([{"prompt": item.question.user_query} for item in items]),
        reward_funcs=[reward],
        rollout_func=replay,
        processing_class=copy.deepcopy(renderer.tokenizer),
        callbacks=[capture],
    )
    stock.train()
    assert_equal(ours, capture.gradients)


def test_a_history_with_too_many_chunks_is_refused_before_training(renderer: Renderer) -> None:
    histories = {f"t{number}": chat(number, length) for number, length in enumerate((1, 9, 2))}
    with pytest.raises(UserError, match=r"t1's history has .* chunks, memory\.max_chunks is 4"):
        most_chunks(histories, PolicyGenerator(renderer, lambda *_: []), MEMORY)
