"""The reward of an answer's form: 1 when it ended by itself and looks as the prompt asked for, else 0.

It says nothing about being right. Multiple choice has to state one option and no second one; an open reply has to quote a
line first (of the memory, of the chat, or `none`) and say something to the user after it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.memory.prompts import EMPTY, open_answer, parse_choice, without_thinking

_QUOTED = re.compile(rf"(?:- \S.*|(?:user|assistant|system): \S.*|{EMPTY})")
"""A line of a memory (`- topic: content`), a line of a chat (`role: content`, for `protocol: full_context`), or nothing."""


def format_reward(answer: Generation, options: Mapping[str, str] | None) -> float:
    """1 or 0; without options the open form is expected."""
    well_formed = _states_one(answer.text, options) if options else _quotes_then_replies(answer.text)
    return float(answer.finished and well_formed)


def _states_one(text: str, options: Mapping[str, str]) -> bool:
    boxes = without_thinking(text).count("\\boxed{")
    return boxes <= 1 and parse_choice(text, options) is not None


def _quotes_then_replies(text: str) -> bool:
    first = (without_thinking(text).strip().splitlines() or [""])[0].strip()
    return bool(_QUOTED.fullmatch(first)) and bool(open_answer(text))
