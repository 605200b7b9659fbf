"""The reward of a multiple-choice answer: 1 for stating the right option in a strict form, 0 for anything else."""

from __future__ import annotations

from collections.abc import Mapping

from personamem_pipeline.memory.prompts import parse_choice


def choice_reward(answer: str, options: Mapping[str, str], letter: str) -> float:
    """1 for the right option, 0 for a wrong one or none; never the nearest option (`memory.prompts.parse_choice`)."""
    return float(parse_choice(answer, options) == letter)
