"""What a checkpoint says it was rewarded for: held against its preset, against itself, and against the code that is here.

The version of a reward is a digest of what is stated of it and of a constant of the code, `rewards/N`, which is raised when
a reward pays otherwise for the same answer. The constant itself stands nowhere in a passport; it is found by trying.
"""

from __future__ import annotations

from collections.abc import Iterator

from personamem_pipeline.passports.links import Link, broken
from personamem_pipeline.passports.records import Passport, Reward
from personamem_pipeline.questions.judge import INSTRUCTIONS, STANCE_INSTRUCTIONS
from personamem_pipeline.seeds import digest

REWARDS = "rewards/1"
"""Raise it when a reward pays otherwise for the same answer (`training.rewards`): a reward's code is no part of its
weights."""
TRIED = 1000
"""How many constants are tried: `rewards/1`, `rewards/2`, ..."""


def reward_link(label: str, passport: Passport) -> Link:
    """The reward of a checkpoint that was trained by one."""
    what = "reward is the preset's"
    reward = passport.reward
    if reward is None:
        means = "what the checkpoint was paid for, and who judged, cannot be told"
        return Link(label, what, "gap", "not stated", means)
    constant = constant_of(reward)
    if problems := list(_problems(reward, passport, constant)):
        return broken(label, what, problems, "the checkpoint was paid for something else than its figures say")
    if constant != REWARDS:
        means = "the code that is here pays otherwise: what the checkpoint was paid for is to be read in its own commit"
        return Link(label, what, "gap", f"its code was {constant}, here it is {REWARDS}", means)
    if reward.judge_prompts not in (None, digest([INSTRUCTIONS, STANCE_INSTRUCTIONS])):
        means = "the code that is here asks judges otherwise: the words that its judge read are in its own commit"
        return Link(label, what, "gap", f"its judge's prompts were {reward.judge_prompts}", means)
    judge = f"judged by {reward.judge}" if reward.judge else "no answer was judged"
    return Link(label, what, "ok", f"{constant}, weights, {judge}")


def constant_of(reward: Reward) -> str | None:
    """The constant of the code by which the version is the digest of what is stated; None where it is by none."""
    stated = reward.model_dump(mode="json", exclude={"version"})
    constants = (f"rewards/{number}" for number in range(1, TRIED))
    return next((constant for constant in constants if digest([constant, stated]) == reward.version), None)


def _problems(reward: Reward, passport: Passport, constant: str | None) -> Iterator[str]:
    weights = passport.preset.get("section", {}).get("rewards")
    if reward.weights != weights:
        yield f"weights: stated is {reward.weights}, found is {weights}"
    if constant is None:
        yield f"version {reward.version} is no digest of the weights, judge and prompts that are stated"
    if (reward.judge is None) != (reward.judge_prompts is None):
        yield f"the judge is {reward.judge}, its prompts are {reward.judge_prompts}: both are stated, or neither"
