"""What a person watches while GRPO trains: figures of one step's rollouts, by name.

Most failures show here before the reward moves: memories that grow into their cap, that stop changing, that lose what they
held, groups that no longer differ. Ranks observe their own rollouts; their `Means` are gathered and merged, so that a figure
is the mean over all ranks, also where one rank saw three answers of a kind and another none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from personamem_pipeline.training.grpo.rows import ANSWER, WRITE
from personamem_pipeline.training.grpo.scored import ScoredRollout
from personamem_pipeline.training.labels import retained
from personamem_pipeline.training.rewards.records import AnswerReward

NEAR_CAP = 0.75
"""Share of the cap from which a memory counts as near it: there the length reward starts to cost (`RewardsConfig`)."""


@dataclass
class Means:
    """Sums and counts by name. A name that nobody added is not there: no value that looks like a measurement."""

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, value: float, count: int = 1) -> None:
        """Add `value`, the sum over `count` observations."""
        self.sums[name] = self.sums.get(name, 0.0) + value
        self.counts[name] = self.counts.get(name, 0) + count

    def merge(self, other: Means) -> None:
        """Add all that `other` has seen."""
        for name, value in other.sums.items():
            self.add(name, value, other.counts[name])

    def means(self) -> dict[str, float]:
        """Name -> mean over all observations, in the order in which the names first came."""
        return {name: value / self.counts[name] for name, value in self.sums.items() if self.counts[name]}


def observe(scored: Sequence[ScoredRollout], *, group: int, memory_tokens: int) -> Means:
    """The figures of one rank's rollouts; `group` consecutive ones read one history and were asked the same questions.

    - `reward/total`, `reward/<part>`: of the answers that could be scored; `memory_reward/<part>`: of write turns.
    - `accuracy/<type>`, `score/<type>`: multiple choice and the judge's score, by type of preference.
    - `groups/zero_variance`: share of groups of answers whose totals are all equal, which teach nothing;
      `groups/unscored`: share of answers without a total.
    - `write/length`, `answer/length`: sampled tokens; `write/near_cap`: share of write turns from 75 % of the cap;
      `write/truncated`, `answer/truncated`: share that the cap cut off.
    - `memory/kept_unfinished`, `memory/kept_empty`: share of write turns that left the memory as it was, and why;
      `memory/change`: `memory_change` per write turn.
    - `memory/lines`, `memory/retained`: of the last memory, which answers rest on; `memory/retained/turn_<k>`: share of the
      labels that the memory holds after write turn k (from 1).
    - `tokens/sampled`, `tokens/read`: per rollout; read are all prompts' tokens, those that a prefix cache saves included.
    """
    if len(scored) % group:
        raise ValueError(f"{len(scored)} rollouts are not whole groups of {group}")
    figures = Means()
    for own in scored:
        _memories(figures, own, memory_tokens)
        _answers(figures, own)
        generations = [*(turn.generation for turn in own.rollout.turns), *own.rollout.answers]
        figures.add("tokens/sampled", sum(len(generation.token_ids) for generation in generations))
        figures.add("tokens/read", sum(len(generation.prompt_ids) for generation in generations))
    for start in range(0, len(scored), group):
        for answers in zip(*(own.answers for own in scored[start : start + group]), strict=True):
            figures.add("groups/zero_variance", without_variance(answers))
    return figures


def without_variance(answers: Sequence[AnswerReward]) -> bool:
    """Whether the answers of a group earned the same, or fewer than two of them could be scored: no advantage is left."""
    return len({answer.total for answer in answers if answer.total is not None}) < 2


def memory_change(before: str, after: str) -> float:
    """Share of the lines of the longer memory that the other one does not hold; 0 when both are empty.

    Lines are compared as a set (a memory says a thing once): writing the same in another order is no change.
    """
    old, new = set(before.splitlines()), set(after.splitlines())
    return 1 - len(old & new) / max(len(old), len(new)) if old or new else 0.0


def entropy_by_kind(entropies: torch.Tensor, completion_mask: torch.Tensor, turn_kind: torch.Tensor) -> Means:
    """`entropy/write` and `entropy/answer`, nats per sampled token, of a micro-batch.

    Shapes: `entropies` and `completion_mask` (m, C), `turn_kind` (m,) as in `rows` (-1 is a dummy, which counts nowhere).
    Only rows that are trained on come here: those without advantage are dropped before the forward pass.
    """
    figures = Means()
    sampled = completion_mask.bool()
    for name, kind in (("entropy/write", WRITE), ("entropy/answer", ANSWER)):
        chosen = entropies[sampled & (turn_kind == kind).unsqueeze(1)]
        if chosen.numel():
            figures.add(name, float(chosen.sum(dtype=torch.float64)), chosen.numel())
    return figures


def _memories(figures: Means, own: ScoredRollout, memory_tokens: int) -> None:
    memory = ""
    for number, (turn, labels, reward) in enumerate(
        zip(own.rollout.turns, own.labels, own.turns, strict=True), start=1
    ):
        length = len(turn.generation.token_ids)
        figures.add("write/length", length)
        figures.add("write/near_cap", length >= NEAR_CAP * memory_tokens)
        figures.add("write/truncated", not turn.generation.finished)
        figures.add("memory/kept_unfinished", turn.kept == "unfinished")
        figures.add("memory/kept_empty", turn.kept == "empty")
        figures.add("memory/change", memory_change(memory, turn.memory))
        for part, value in reward.parts.items():
            figures.add(f"memory_reward/{part}", value)
        memory = turn.memory
        if (share := retained(memory, labels)) is not None:
            figures.add(f"memory/retained/turn_{number}", share)
    if own.rollout.turns:
        figures.add("memory/lines", len(memory.splitlines()))
        if (share := retained(memory, own.labels[-1])) is not None:
            figures.add("memory/retained", share)


def _answers(figures: Means, own: ScoredRollout) -> None:
    for item, reply, reward in zip(own.rollout.items, own.rollout.answers, own.answers, strict=True):
        figures.add("answer/length", len(reply.token_ids))
        figures.add("answer/truncated", not reply.finished)
        figures.add("groups/unscored", reward.total is None)
        if reward.total is not None:
            figures.add("reward/total", reward.total)
        for part, value in reward.parts.items():
            figures.add(f"reward/{part}", value)
        for part, name in (("choice", "accuracy"), ("open_ended", "score")):
            if part in reward.parts:
                figures.add(f"{name}/{item.question.pref_type}", reward.parts[part])
