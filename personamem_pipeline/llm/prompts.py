"""What is asked: one prompt for one record, and the messages that it becomes.

What belongs here is the text that every request shares: the brief, where a schema goes when the server takes none, and
how a reply that does not fit is sent back. What is asked for is each room's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

ReplyT = TypeVar("ReplyT", bound=BaseModel)
Messages = list[dict[str, str]]

BRIEF = "Brief:\n"
IN_WORDS = "\n\nReply with JSON only: one object that fits the JSON schema `{task}`.\n{schema}"
REPAIR = "Your reply cannot be used: {problem}\nReply again with the corrected JSON object only."
QUOTED = 2000
"""Characters of an unusable reply that its repair quotes: an endless one would be paid for twice."""


@dataclass(frozen=True)
class Prompt(Generic[ReplyT]):
    """One request for one record.

    `task` names the JSON schema; `brief` is what is given, and follows the line `Brief:` in the user message. `seed` is
    the experiment's seed: the request's own is derived from it, the task and `key`, the id of the row it is for.
    """

    task: str
    instructions: str
    brief: Mapping[str, Any]
    response: type[ReplyT]
    key: str
    seed: int = 0

    @property
    def messages(self) -> Messages:
        return [
            {"role": "system", "content": self.instructions},
            {"role": "user", "content": BRIEF + json.dumps(self.brief, ensure_ascii=False)},
        ]


def repair(messages: Messages, content: str, problem: str) -> Messages:
    """The conversation that asks once more; `content` is what came back, `problem` what is wrong with it."""
    said = content if len(content) <= QUOTED else content[:QUOTED] + " [...]"
    return [
        *messages,
        # Chat templates want the roles to alternate, and some servers refuse an empty message.
        {"role": "assistant", "content": said or "(no reply)"},
        {"role": "user", "content": REPAIR.format(problem=problem)},
    ]
