"""Rewards put together by the preset's weights: the parts for the log, the weighted sum for training.

All open answers of a step are judged in one batch through the one model endpoint (as much at a time as it bears, retried,
cached by content). A judgement that fails leaves its answer without a total: out of the group's baseline, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from personamem_pipeline.errors import Refused, UserError
from personamem_pipeline.memory.episode import MemoryTurn
from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.presets import RewardsConfig
from personamem_pipeline.questions.judge import RewardJudge, brief
from personamem_pipeline.training.grpo.curriculum import Item
from personamem_pipeline.training.labels import ChunkLabels, retention
from personamem_pipeline.training.rewards.choice import choice_reward
from personamem_pipeline.training.rewards.format import format_reward
from personamem_pipeline.training.rewards.memory import annealed, forbidden_reward, length_reward
from personamem_pipeline.training.rewards.open_ended import answer_brief, open_reward
from personamem_pipeline.training.rewards.records import AnswerReward, TurnReward
from personamem_pipeline.training.rewards.stereotype import (
    GUESS,
    choice_stance,
    open_stance,
    rests_on_the_user,
    says_something,
)

Parts = dict[str, float | None]
"""Name of a reward -> its value; None where it applies and could not be judged."""


class AnswerRewards:
    """Pays answers, all of a step in one call.

    `choice` and `format` cost nothing and are always among the parts; the others only where they have weight.
    """

    def __init__(self, weights: RewardsConfig, judge: RewardJudge | None) -> None:
        self.weights, self.judge = weights, judge

    def __call__(self, items: Sequence[Item], answers: Sequence[Generation]) -> list[AnswerReward]:
        """One reward per answer, in order. Raises `UserError` when the judge's endpoint is at fault."""
        scored = [i for i, item in enumerate(items) if self._is_scored(item)]
        read = [i for i, item in enumerate(items) if self._is_read(item) and says_something(answers[i].text)]
        briefs = {i: answer_brief(items[i].question, answers[i].text) for i in {*scored, *read}}
        verdicts, stances = self._judged([briefs[i] for i in scored], [briefs[i] for i in read])
        scores = dict(zip(scored, map(open_reward, verdicts), strict=True))
        rests = dict(zip(read, map(open_stance, stances), strict=True))
        rewards: list[AnswerReward] = []
        for i, (item, answer) in enumerate(zip(items, answers, strict=True)):
            parts = self._unjudged(item, answer)
            if i in scores:
                parts["open_ended"] = scores[i]
            if self._is_read(item):
                parts["stereotype"] = rests.get(i, GUESS)
            rewards.append(_answer_reward(parts, self.weights))
        return rewards

    def check_judge(self, items: Sequence[Item]) -> None:
        """Ask for one judgement of each needed kind now, past the cache; asks nothing where training will need none.

        Raises `UserError`: no judge is configured, its endpoint does not answer, or it gives no verdict.
        """
        scored, read = (
            [brief(item.question, item.question.correct_answer) for item in items if needed(item)][:1]
            for needed in (self._is_scored, self._is_read)
        )
        remedy = "train without a judge: no open questions (grpo.open_share: 0 in the preset)"
        try:
            verdicts, stances = self._judged(scored, read, fresh=True)
        except UserError as error:
            raise UserError(
                f"the judge that rewards open answers cannot be asked: {error.problem}",
                where=error.where,
                expected=error.expected,
                remedy=f"{error.remedy}; or {remedy}",
            ) from error
        for given in (*verdicts, *stances):
            if isinstance(given, Refused):
                raise UserError(
                    f"the judge that rewards open answers gives no verdict on a right answer: {given.args[-1]}",
                    where=self.judge.name if self.judge else "",
                    expected="a model that replies with the JSON object that questions/judge.py asks for",
                    remedy=f"set PERSONAMEM_LLM_MODEL to one; or {remedy}",
                )

    def _unjudged(self, item: Item, answer: Generation) -> Parts:
        parts: Parts = {"format": format_reward(answer, item.options)}
        if item.options is not None and item.letter is not None:
            parts["choice"] = choice_reward(answer.text, item.options, item.letter)
            if self.weights.stereotype and rests_on_the_user(item.question):
                parts["stereotype"] = choice_stance(answer.text, item.question, item.options, item.letter)
        return parts

    def _is_scored(self, item: Item) -> bool:
        """Whether the judge has to score the answer."""
        return item.options is None and self.weights.open_ended > 0

    def _is_read(self, item: Item) -> bool:
        """Whether the judge has to say what the answer rests on."""
        return item.options is None and self.weights.stereotype > 0 and rests_on_the_user(item.question)

    def _judged(
        self, scored: Sequence[Mapping[str, Any]], read: Sequence[Mapping[str, Any]], *, fresh: bool = False
    ) -> tuple[Sequence[Any], Sequence[Any]]:
        if not scored and not read:
            return (), ()
        if self.judge is None:
            raise UserError(
                "open answers are to be rewarded, but there is no judge",
                remedy="give AnswerRewards one",
            )
        return self.judge.judgements(scored, read, fresh=fresh)


def _answer_reward(parts: Parts, weights: RewardsConfig) -> AnswerReward:
    missing = [name for name, value in parts.items() if value is None]
    known = {name: value for name, value in parts.items() if value is not None}
    total = sum(getattr(weights, name) * value for name, value in known.items())
    return AnswerReward(known, None if missing else float(total))


def memory_rewards(
    turns: Sequence[MemoryTurn], labels: Sequence[ChunkLabels], weights: RewardsConfig, cap: int, step: int
) -> list[TurnReward]:
    """One reward per write turn of a rollout, in order; `labels` are those of the same chunks.

    `cap` is the memory's in tokens, `step` the optimizer step (the first is 0) that retention's weight falls with. All
    parts that apply are there for the log, those without weight too.
    """
    at_step = {
        "length": weights.length,
        "retention": annealed(weights.retention, step, weights.anneal_steps),
        "forbidden": weights.forbidden,
    }
    rewards: list[TurnReward] = []
    before = ""
    for turn, own in zip(turns, labels, strict=True):
        values = {
            "length": length_reward(len(turn.generation.token_ids), turn.generation.finished, cap),
            "retention": retention(before, turn.memory, own),
            "forbidden": forbidden_reward(turn.memory, own),
        }
        parts = {name: value for name, value in values.items() if value is not None}
        rewards.append(TurnReward(parts, float(sum(at_step[name] * value for name, value in parts.items()))))
        before = turn.memory
    return rewards
