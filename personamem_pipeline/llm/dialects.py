"""How a request is put to a server: which way of asking for JSON it takes, what it calls the reply's length cap, and
whether it takes a temperature.

Not every OpenAI-compatible server knows strict JSON schemas. In order of strength:

    json_schema   the schema is enforced by the server (OpenAI, vLLM, ...)
    json_object   the server promises some JSON object; the schema is in the system message
    text          the server promises nothing; the schema is in the system message, and JSON is looked for in the reply

`auto` starts with the first and steps down when the server refuses a request because of it, for all further requests.
Whatever the way, each reply is validated against the same schema by `replies.py`. Only plain chats carry a temperature;
a model that takes none (most that think first) samples at its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel

from personamem_pipeline.llm.prompts import IN_WORDS, Chat, Messages, Prompt, Request
from personamem_pipeline.seeds import stable_int
from personamem_pipeline.settings import Structured

Mode = Literal["json_schema", "json_object", "text"]

Length = Literal["max_tokens", "max_completion_tokens"]
LENGTHS: tuple[Length, ...] = ("max_tokens", "max_completion_tokens")
MODES: tuple[Mode, ...] = ("json_schema", "json_object", "text")
_SCHEMAS: dict[type[BaseModel], dict[str, Any]] = {}
_ABOUT_FORMAT = re.compile(r"response_format|json_schema|json_object|structured output|guided", re.IGNORECASE)
_ABOUT_LENGTH = re.compile(r"max_tokens.*max_completion_tokens", re.IGNORECASE | re.DOTALL)
_ABOUT_TEMPERATURE = re.compile(r"support\w*[^.]*\Wtemperature|\btemperature\W.*(support|deprecated)", re.IGNORECASE)
"""E.g. OpenAI's "Unsupported value: 'temperature' does not support 0 with this model."."""


@dataclass(frozen=True)
class Dialect:
    """One way of writing requests. `adaptable`: a step down is allowed when the server refuses it."""

    mode: Mode = "json_schema"
    length: Length = "max_tokens"
    adaptable: bool = True
    temperature: bool = True

    @classmethod
    def starting(cls, structured: Structured, openai: bool) -> Dialect:
        """What to begin with. `openai`: the server is OpenAI itself, whose newer models take the newer name only."""
        length: Length = "max_completion_tokens" if openai else "max_tokens"
        return cls("json_schema" if structured == "auto" else structured, length, structured == "auto")

    def refused(self, complaint: str) -> Dialect | None:
        """The dialect to go on with after a 400 or 422 that says `complaint`; None: the dialect is not at fault."""
        if self.length == "max_tokens" and _ABOUT_LENGTH.search(complaint):
            # Some of OpenAI's models behind other addresses take the newer name only; most servers know the older only.
            return replace(self, length="max_completion_tokens")
        if self.temperature and _ABOUT_TEMPERATURE.search(complaint):
            return replace(self, temperature=False)
        if self.adaptable and self.mode != MODES[-1] and _ABOUT_FORMAT.search(complaint):
            return replace(self, mode=MODES[MODES.index(self.mode) + 1])
        return None

    def weaker(self, prompt: Request[Any]) -> Iterator[Dialect]:
        """The dialect itself and all that a request may still change to from it."""
        plain = isinstance(prompt, Chat)
        modes = MODES[MODES.index(self.mode) :] if self.adaptable and not plain else (self.mode,)
        temperatures = (True, False) if self.temperature and plain else (self.temperature,)
        for length in LENGTHS[LENGTHS.index(self.length) :]:
            for mode in modes:
                for temperature in temperatures:
                    yield replace(self, mode=mode, length=length, temperature=temperature)


def request_body(prompt: Request[Any], messages: Messages, model: str, dialect: Dialect, max_tokens: int) -> bytes:
    """The JSON body of one request. Equal questions give equal bytes: the cache's key is taken over them.

    `max_tokens` is for replies that are records; a chat has its own.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "seed": stable_int(prompt.seed, prompt.task, prompt.key) % 2**31,  # some servers take 32 bits only
        dialect.length: prompt.max_tokens if isinstance(prompt, Chat) else max_tokens,
    }
    if isinstance(prompt, Chat) and dialect.temperature:
        body["temperature"] = prompt.temperature
    if isinstance(prompt, Prompt):
        body |= _asking_for_json(prompt, messages, dialect)
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _asking_for_json(prompt: Prompt[Any], messages: Messages, dialect: Dialect) -> dict[str, Any]:
    if dialect.mode == "json_schema":
        strict = {"name": prompt.task, "strict": True, "schema": json_schema(prompt.response)}
        return {"response_format": {"type": "json_schema", "json_schema": strict}}
    system, *rest = messages
    in_words = IN_WORDS.format(task=prompt.task, schema=json.dumps(json_schema(prompt.response)))
    told: dict[str, Any] = {"messages": [system | {"content": system["content"] + in_words}, *rest]}
    return told | ({"response_format": {"type": "json_object"}} if dialect.mode == "json_object" else {})


def json_schema(response: type[BaseModel]) -> dict[str, Any]:
    """OpenAI's strict form of a pydantic schema: every property required, nothing else allowed."""
    if response not in _SCHEMAS:
        from openai import pydantic_function_tool  # the public way to that form

        _SCHEMAS[response] = pydantic_function_tool(response)["function"]["parameters"]
    return _SCHEMAS[response]
