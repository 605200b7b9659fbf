"""What is asked: a prompt for a record, or a plain chat turn, and the messages that it becomes.

What belongs here is the text that every request shares: the brief, where a schema goes when the server takes none, and
how a reply that does not fit is sent back. What is asked for is each room's own.

Two kinds go the same way through an endpoint. A `Prompt` wants a record, and a reply that is none is sent back. A `Chat`
wants what the model says: a model under test is not helped, so nothing is repaired and a cut reply stays cut.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from personamem_pipeline.llm.replies import Answer, ReplyT, declined, read

RecordT = TypeVar("RecordT", bound=BaseModel, covariant=True)
Messages = list[dict[str, str]]

BRIEF = "Brief:\n"
IN_WORDS = "\n\nReply with JSON only: one object that fits the JSON schema `{task}`.\n{schema}"
REPAIR = "Your reply cannot be used: {problem}\nReply again with the corrected JSON object only."
AROUND = f"{BRIEF}{IN_WORDS}{REPAIR}"
"""The text around every room's own: part of the code version of whatever asks a model for records."""
QUOTED = 2000
"""Characters of an unusable reply that its repair quotes: an endless one would be paid for twice."""


class Request(Protocol[RecordT]):
    """Anything that an endpoint can be asked: a `Prompt` or a `Chat`. The request's seed is derived from `seed`, `task`
    and `key`."""

    @property
    def task(self) -> str: ...

    @property
    def key(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def messages(self) -> Messages: ...

    def read(self, answer: Answer) -> RecordT:
        """The record in an answer. Raises `Unusable`."""
        ...


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

    def read(self, answer: Answer) -> ReplyT:
        return read(answer, self.response)


class Said(BaseModel):
    """What came back to a `Chat`."""

    model_config = ConfigDict(frozen=True)
    text: str
    finished: bool
    """The model ended by itself; False means above all that `max_tokens` cut it off."""
    refused: bool
    """The model or a filter declined; what there is of a text is not kept."""
    input_tokens: int | None
    output_tokens: int | None
    """As the server counted, hidden thoughts included; None where it does not say."""


@dataclass(frozen=True)
class Chat:
    """One plain request: a user message, and whatever the model says to it.

    Of equal texts with equal seeds, `key` tells the draws apart.
    """

    text: str
    key: str
    max_tokens: int
    temperature: float = 0.0
    seed: int = 0
    task: ClassVar[str] = "chat"

    @property
    def messages(self) -> Messages:
        return [{"role": "user", "content": self.text}]

    def read(self, answer: Answer) -> Said:
        refused = declined(answer)
        return Said(
            text="" if refused else answer.content,
            finished=answer.finish_reason == "stop" and not refused,
            refused=refused,
            input_tokens=answer.prompt_tokens,
            output_tokens=answer.completion_tokens,
        )


def repair(messages: Messages, content: str, problem: str) -> Messages:
    """The conversation that asks once more; `content` is what came back, `problem` what is wrong with it."""
    said = content if len(content) <= QUOTED else content[:QUOTED] + " [...]"
    return [
        *messages,
        # Chat templates want the roles to alternate, and some servers refuse an empty message.
        {"role": "assistant", "content": said or "(no reply)"},
        {"role": "user", "content": REPAIR.format(problem=problem)},
    ]
