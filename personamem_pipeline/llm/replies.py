"""Reading replies: from what a server sent to a validated record, or to a named reason why not.

An answer is never guessed. What cannot be read raises `Unusable` with a code, which a repair may cure and which else
becomes the reason of the row's rejection:

    declined      the model or its filter refused to answer
    truncated     the reply was cut off at the length cap, so also: the model did not stop by itself
    empty         there was no text
    not_json      there is no JSON object in the text
    wrong_schema  there is one, and it does not fit
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

ReplyT = TypeVar("ReplyT", bound=BaseModel)
_OBJECT = re.compile(r"\{\s*[\"}]")
"""Where a JSON object begins, unlike `{these}` in prose."""


class Unusable(Exception):
    """A reply that is no record; `args` are the code and what is wrong."""


class NoCompletion(ValueError):
    """The body of a response is not a chat completion."""


@dataclass(frozen=True)
class Answer:
    """One response, without what is not needed again; it is what the cache keeps. Tokens are None where the server
    does not count them."""

    content: str
    refusal: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None

    def to_json(self) -> str:
        fields = [self.content, self.refusal, self.finish_reason, self.prompt_tokens, self.completion_tokens]
        return json.dumps(fields, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Answer:
        return cls(*json.loads(text))


def answer_of(body: bytes | dict[str, Any]) -> Answer:
    """The answer in a response body. Raises `NoCompletion` when it is anything but a chat completion."""
    try:
        completion = json.loads(body) if isinstance(body, bytes) else body
        choice, usage = completion["choices"][0], completion.get("usage") or {}
        message = choice["message"]
        answer = Answer(
            content=message.get("content") or "",
            refusal=message.get("refusal") or "",
            finish_reason=choice.get("finish_reason") or "",
            prompt_tokens=usage.get("prompt_tokens"),
            completion_tokens=usage.get("completion_tokens"),
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise NoCompletion(f"the response is not a chat completion ({type(error).__name__}: {error})") from error
    texts, counts = (answer.content, answer.refusal), (answer.prompt_tokens, answer.completion_tokens)
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(count, int | None) for count in counts):
        raise NoCompletion("the response's content is no text, or its token counts are no whole numbers")
    return answer


def declined(answer: Answer) -> bool:
    """Whether the model, or a filter before or after it, refused to answer."""
    return bool(answer.refusal) or answer.finish_reason == "content_filter"


def read(answer: Answer, response: type[ReplyT]) -> ReplyT:
    """The record in an answer. Raises `Unusable`."""
    if declined(answer):
        raise Unusable("declined", answer.refusal or "the server's content filter cut the reply off")
    try:
        return response.model_validate_json(answer.content)
    except ValidationError as error:
        problem = error
    # A whole object may stand in a code fence or between sentences. The last one that fits counts, because models
    # think first; so none does when the reply was cut off, where the last may be a draft.
    found = None
    for text in _objects(answer.content) if answer.finish_reason != "length" else ():
        try:
            found = response.model_validate_json(text)
        except ValidationError as error:
            problem = error
    if found is not None:
        return found
    if answer.finish_reason == "length":
        raise Unusable("truncated", f"it was cut off after {len(answer.content)} characters; be brief and complete")
    if not answer.content.strip():
        raise Unusable("empty", "it holds no text")
    if any(item["type"] == "json_invalid" for item in problem.errors()):
        raise Unusable("not_json", f"it holds no whole JSON object: {_told(problem)}")
    raise Unusable("wrong_schema", f"it does not fit the schema: {_told(problem)}")


def _objects(text: str) -> Iterator[str]:
    """The outermost whole JSON objects in a text, in order, up to the first broken one: what stands inside that is a
    part of a record and must not be taken for one."""
    decoder, position = json.JSONDecoder(), 0
    while start := _OBJECT.search(text, position):
        try:
            _, position = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            return
        yield text[start.start() : position]


def _told(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'reply'}: {item['msg']}" for item in error.errors()[:5])
