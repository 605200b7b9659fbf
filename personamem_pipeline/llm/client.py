"""The model endpoint: structured prompts in, validated records out, through the real `openai` client.

Here belongs everything about *asking*: connection, concurrency, retries, JSON schemas, validation, one repair, usage.
What is asked, and what becomes of the answer, belongs to the rooms (personas, conversations, questions, evaluation).
With `base_url=None` the built-in simulator answers in this process behind the same client: one code path for both.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from personamem_pipeline.errors import Refused, UserError
from personamem_pipeline.seeds import stable_int

if TYPE_CHECKING:  # openai takes a second to import and the code location must load quickly
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletion

ReplyT = TypeVar("ReplyT", bound=BaseModel)
SIMULATOR_URL = "http://simulator/v1"
TIMEOUT_SECONDS = 180.0
REPAIR = "Your reply does not fit the schema:\n{problem}\nReply again with the corrected JSON object only."


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
    def messages(self) -> list[dict[str, str]]:
        brief = json.dumps(self.brief, ensure_ascii=False)
        return [
            {"role": "system", "content": self.instructions},
            {"role": "user", "content": f"Brief:\n{brief}"},
        ]


@dataclass
class Usage:
    """What an endpoint has been asked for since it was made. `calls` counts completed requests, repairs included."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    refused: int = 0


@dataclass
class Endpoint:
    """An OpenAI-compatible chat endpoint; `base_url=None` is the simulator in this process."""

    base_url: str | None
    model: str
    api_key: str | None = field(repr=False)
    concurrency: int = 16
    max_retries: int = 3
    usage: Usage = field(default_factory=Usage)

    async def ask(self, prompt: Prompt[ReplyT]) -> ReplyT:
        """The validated reply. `Refused(key, reason)`: none for this row; `UserError`: the endpoint is at fault."""
        async with self._connected() as client:
            return await self._reply(client, prompt)

    def map(
        self, prompts: Sequence[Prompt[ReplyT]], on_progress: Callable[[int, int], None] | None = None
    ) -> list[ReplyT | Refused]:
        """Ask everything, at most `concurrency` at a time; replies in the order of `prompts`, a refusal in its place.

        `on_progress(done, all)` is called after each reply. The first `UserError` stops the rest.
        """
        return asyncio.run(self._map(prompts, on_progress)) if prompts else []

    async def _map(
        self, prompts: Sequence[Prompt[ReplyT]], on_progress: Callable[[int, int], None] | None
    ) -> list[ReplyT | Refused]:
        replies: dict[int, ReplyT | Refused] = {}
        waiting = iter(enumerate(prompts))  # shared by the workers: each takes the next one

        async def work(client: AsyncOpenAI) -> None:
            for index, prompt in waiting:
                try:
                    replies[index] = await self._reply(client, prompt)
                except Refused as refused:
                    replies[index] = refused
                if on_progress:
                    on_progress(len(replies), len(prompts))

        async with self._connected() as client:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self.concurrency, len(prompts))):
                        group.create_task(work(client))
            except* UserError as errors:
                # Every worker meets the same dead endpoint; one message is enough.
                raise _first(errors) from None
        return [replies[index] for index in range(len(prompts))]

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncOpenAI]:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        http_client = None
        if self.base_url is None:
            from httpx2 import ASGITransport  # the HTTP library of openai 3

            from personamem_pipeline.llm.simulator.app import app

            http_client = DefaultAsyncHttpxClient(transport=ASGITransport(app))
        async with AsyncOpenAI(
            base_url=self.base_url or SIMULATOR_URL,
            api_key=self.api_key or "none",
            max_retries=self.max_retries,
            timeout=TIMEOUT_SECONDS,
            http_client=http_client,
        ) as client:
            yield client

    async def _reply(self, client: AsyncOpenAI, prompt: Prompt[ReplyT]) -> ReplyT:
        try:
            return await self._valid_reply(client, prompt)
        except Refused:
            self.usage.refused += 1
            raise

    async def _valid_reply(self, client: AsyncOpenAI, prompt: Prompt[ReplyT]) -> ReplyT:
        messages, problem = prompt.messages, ""
        for _ in ("first", "repair"):
            message = (await self._complete(client, prompt, messages)).choices[0].message
            if message.refusal:
                raise Refused(prompt.key, f"the model declined: {message.refusal}")
            content = message.content or ""
            try:
                return prompt.response.model_validate_json(content)
            except ValidationError as error:
                problem = _problem(error)
            repair = {"role": "user", "content": REPAIR.format(problem=problem)}
            messages = [*messages, {"role": "assistant", "content": content}, repair]
        raise Refused(prompt.key, f"invalid reply, after one repair too: {problem}")

    async def _complete(
        self, client: AsyncOpenAI, prompt: Prompt[ReplyT], messages: list[dict[str, str]]
    ) -> ChatCompletion:
        import openai
        from openai.types.chat import ChatCompletion

        body = {
            "model": self.model,
            "messages": messages,
            "seed": stable_int(prompt.seed, prompt.task, prompt.key) % 2**31,  # some servers take 32 bits only
            "response_format": _response_format(prompt.task, prompt.response),
        }
        try:
            # `post` is what `chat.completions.create` ends in; skipping its walk over the typed parameters (the JSON
            # schema above all) doubles the calls per second.
            completion = await client.post("/chat/completions", body=body, cast_to=ChatCompletion)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            raise Refused(prompt.key, f"the endpoint refused the request: {error.message}") from error
        except openai.OpenAIError as error:
            raise self._unusable(f"{type(error).__name__}: {error}") from error
        if not isinstance(completion, ChatCompletion) or not getattr(completion, "choices", None):
            raise self._unusable("it did not answer with a chat completion")
        self.usage.calls += 1
        if completion.usage:
            self.usage.prompt_tokens += completion.usage.prompt_tokens
            self.usage.completion_tokens += completion.usage.completion_tokens
        return completion

    def _unusable(self, problem: str) -> UserError:
        return UserError(
            f"the model endpoint cannot be used: {problem}",
            where=self.base_url or SIMULATOR_URL,
            expected=f"an OpenAI-compatible chat endpoint that serves {self.model}",
            remedy="check PERSONAMEM_LLM_BASE_URL, PERSONAMEM_LLM_MODEL and PERSONAMEM_LLM_API_KEY; "
            "with PERSONAMEM_LLM_BASE_URL unset the built-in simulator answers",
        )


@cache
def _response_format(task: str, response: type[BaseModel]) -> dict[str, Any]:
    from openai import pydantic_function_tool

    # The public way to openai's strict form of a pydantic schema (every property required, nothing else allowed).
    schema = pydantic_function_tool(response)["function"]["parameters"]
    return {"type": "json_schema", "json_schema": {"name": task, "strict": True, "schema": schema}}


def _problem(error: ValidationError) -> str:
    lines = [f"{'.'.join(map(str, item['loc'])) or 'reply'}: {item['msg']}" for item in error.errors()[:5]]
    return "\n".join(lines)


def _first(errors: BaseExceptionGroup[UserError]) -> UserError:
    error = errors.exceptions[0]
    return error if isinstance(error, UserError) else _first(error)
