"""The connection to a model endpoint, and what its failures mean.

The `openai` client carries the requests: its connections, its headers and types. Its own retries are off, because they
know of one request only: here all requests share one window, one hold and one count.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from personamem_pipeline.errors import UserError

if TYPE_CHECKING:  # openai takes a second to import and the code location must load quickly
    import httpx2
    from openai import AsyncOpenAI

SIMULATOR_URL = "http://simulator/v1"
AUTHOR = "PERSONAMEM_LLM"
"""What the settings of the author's endpoint begin with."""
OWN = ("BASE_URL", "MODEL", "API_KEY")
"""Settings that every endpoint has for itself."""
LARGEST_REPLY = 32 * 2**20
"""Bytes of one reply that are read; a server that sends without end must not fill the memory."""
AZURE = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
_QUOTA = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "exceeded_current_quota_error"}
"""Codes of a 429 that no waiting cures; https://platform.openai.com/docs/guides/error-codes."""


class EndlessReply(Exception):
    """A reply is longer than any record could be."""


@dataclass(frozen=True)
class Server:
    """Where an endpoint is and how it says its name in errors. `variables` is what its own settings begin with: address,
    model and key; all others are the author's, for every endpoint. `secret` never stands in an error."""

    base_url: str | None
    model: str
    variables: str = AUTHOR
    secret: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        """The base URL without a password and without a query, either of which may be a secret."""
        parts = urlsplit(self.base_url or SIMULATOR_URL)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    @property
    def is_openai(self) -> bool:
        return urlsplit(self.base_url or "").hostname == "api.openai.com"

    @asynccontextmanager
    async def connect(self, api_key: str | None, timeout: float) -> AsyncIterator[AsyncOpenAI]:
        """An open client. `timeout` is in seconds, for each request as a whole."""
        from openai import AsyncAzureOpenAI, AsyncOpenAI, DefaultAsyncHttpxClient

        parts = urlsplit(self.base_url or SIMULATOR_URL)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise self.unusable(f"{self.shown!r} is no http(s) address", "BASE_URL")
        query = dict(parse_qsl(parts.query))
        settings: dict[str, Any] = {
            "base_url": urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")),
            "api_key": api_key or "none",
            "max_retries": 0,
            "timeout": timeout,
            "http_client": DefaultAsyncHttpxClient(transport=_simulator())
            if self.base_url is None
            else DefaultAsyncHttpxClient(event_hooks={"response": [_bound]}),
        }
        if parts.hostname.endswith(AZURE) and "api-version" in query:
            # Azure's own client sends the key as `api-key`: as a bearer token it would be taken for one of Entra's.
            # Without a version it is Azure's newer address, .../openai/v1, which takes what OpenAI's takes.
            version = query.pop("api-version")
            client: AsyncOpenAI = AsyncAzureOpenAI(api_version=version, default_query=query or None, **settings)
        else:
            client = AsyncOpenAI(default_query=query or None, **settings)
        async with client:
            yield client

    def clean(self, told: str) -> str:
        """What a server said, without the key: some repeat it in their refusals."""
        return told.replace(self.secret, "(the key)") if self.secret else told

    def unusable(self, problem: str, *names: str) -> UserError:
        """The endpoint is at fault; `names` are the settings to look at, without their common beginning."""
        settings = [f"{self.variables if name in OWN else AUTHOR}_{name}" for name in names or OWN]
        local = self.variables == AUTHOR and "BASE_URL" in (names or OWN)
        return UserError(
            f"the model endpoint cannot be used: {self.clean(problem)}",
            where=self.shown,
            expected=f"an OpenAI-compatible chat endpoint that serves {self.model}",
            remedy=f"check {' and '.join(settings)}"
            + ("; with PERSONAMEM_LLM_BASE_URL unset the built-in simulator answers" if local else ""),
        )

    def explain(self, error: Exception) -> UserError:
        """What an error of the client's means for the person who has to act on it."""
        import openai

        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return self.unusable(f"it refuses the key (HTTP {error.status_code}: {error.message})", "API_KEY")
        if out_of_quota(error):
            return self.unusable(f"its quota is used up, raise it at the provider ({error})", "API_KEY")
        if unknown_model(error):
            message = f"it does not know the model {self.model!r}: {getattr(error, 'message', error)}"
            return self.unusable(message, "MODEL")
        if isinstance(error, openai.NotFoundError):
            return self.unusable(
                f"there is nothing at this address, or no such model: {error.message}", "BASE_URL", "MODEL"
            )
        if isinstance(error, openai.APITimeoutError | TimeoutError):
            return self.unusable("it does not answer in time", "BASE_URL", "TIMEOUT")
        if isinstance(error, openai.APIConnectionError):
            return self.unusable(f"it cannot be reached ({error.__cause__ or error})", "BASE_URL")
        if isinstance(error, openai.RateLimitError):
            return self.unusable(f"it goes on to refuse requests as too many: {error.message}", "CONCURRENCY")
        return self.unusable(f"{type(error).__name__}: {error}")


def unknown_model(error: Exception) -> bool:
    """Whether an error says that the model is not served."""
    import openai

    if not isinstance(error, openai.NotFoundError | openai.BadRequestError):
        return False
    return error.code in ("model_not_found", "DeploymentNotFound") or (
        isinstance(error, openai.NotFoundError) and "model" in error.message.casefold()
    )


def out_of_quota(error: Exception) -> bool:
    """Whether an error says that the account is used up, which waiting does not change."""
    import openai

    if not isinstance(error, openai.APIStatusError):
        return False
    return error.status_code == 402 or (error.status_code == 429 and bool({error.code, error.type} & _QUOTA))


def passing(error: Exception) -> bool:
    """Whether an error may be gone at the next try: too many requests, a server's fault, a lost connection."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return error.status_code in (408, 409, 425, 429) or error.status_code >= 500
    return isinstance(error, openai.APIConnectionError | TimeoutError)


def busy(error: Exception) -> bool:
    """Whether a passing error says that the server has too much to do, rather than that this request fails there."""
    import openai

    return isinstance(error, openai.APIStatusError) and error.status_code in (429, 503, 529)


def _simulator() -> httpx2.AsyncBaseTransport:
    from httpx2 import ASGITransport  # the HTTP library of openai 3

    from personamem_pipeline.llm.simulator.app import app

    return ASGITransport(app)


async def _bound(response: httpx2.Response) -> None:
    """Make reading a reply stop at `LARGEST_REPLY`."""
    response.stream = _bounded_stream()(response.stream)


@cache
def _bounded_stream() -> Callable[[Any], httpx2.AsyncByteStream]:
    from httpx2 import AsyncByteStream

    class Bounded(AsyncByteStream):
        def __init__(self, stream: AsyncByteStream) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            read = 0
            async for chunk in self._stream:
                read += len(chunk)
                if read > LARGEST_REPLY:
                    raise EndlessReply(f"the reply is longer than {LARGEST_REPLY:,} bytes")
                yield chunk

        async def aclose(self) -> None:
            await self._stream.aclose()

    return Bounded
