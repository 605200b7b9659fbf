"""Sending one request until it is answered: the window, the holds, the retries and the budget that all requests share.

An answer is any chat completion; whether it is a usable record is not decided here. A request that fails again and
again costs its own row when the endpoint answers others meanwhile, and stops the run when it answers none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from personamem_pipeline.errors import Refused
from personamem_pipeline.llm.connection import EndlessReply, Server, busy, out_of_quota, passing, unknown_model
from personamem_pipeline.llm.limits import Gate, back_off, retry_after
from personamem_pipeline.llm.replies import Answer, NoCompletion, answer_of
from personamem_pipeline.llm.usage import Usage

if TYPE_CHECKING:
    from openai import AsyncOpenAI

EARLY_RETRIES = 2
"""Before the first answer: a wrong address should say so in a second, not after a minute of waiting."""
LONGEST_HOLD = 600.0
"""Seconds that a server may ask to wait; what asks for more has to be started again later."""


class Stopped(Exception):
    """Nothing more may be sent: `problem` says why, `remedy` what to do. What is in flight is still waited for."""

    def __init__(self, problem: str, where: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem, self.where, self.remedy = problem, where, remedy


@dataclass
class Sender:
    """Sends through one open client, for one run of one endpoint.

    `permit(body, in_flight)` raises `Stopped` when the request may not be sent. `timeout` is in seconds.
    """

    server: Server
    client: AsyncOpenAI
    gate: Gate
    usage: Usage
    max_retries: int
    timeout: float
    permit: Callable[[bytes, int], None]
    answered: int = 0
    """Requests that the endpoint has answered, with whatever it may be, since the run began."""
    known: bytes | None = None
    """A request that this endpoint has answered before, by the cache: what to ask whether it is there at all."""
    stopped: Stopped | None = None

    async def send(self, body: bytes, key: str, seed: int) -> Answer:
        """The answer to a request for the row `key`.

        Raises `Refused` when this request alone gets none, `Stopped` when nothing more may be sent, `UserError` when
        the endpoint is at fault, and openai's 400, 413 and 422 as they are: what was asked is at fault.
        """
        import openai

        attempt, before = 0, self.answered
        while True:
            try:
                return await self._once(body)
            except EndlessReply as error:
                self.usage.wasted += 1
                raise Refused(key, f"endless: {error}") from error
            except (openai.OpenAIError, TimeoutError, NoCompletion) as error:
                problem: Exception = error
            if out_of_quota(problem):
                raise self._stop(problem) from problem
            if isinstance(problem, openai.APIStatusError) and problem.status_code in (400, 413, 422):
                if unknown_model(problem):
                    raise self.server.explain(problem) from problem
                self.answered += 1
                raise problem
            if not passing(problem) and not isinstance(problem, NoCompletion):
                raise self.server.explain(problem) from problem
            attempt += 1
            early = not self.answered and not busy(problem)
            if attempt > (min(EARLY_RETRIES, self.max_retries) if early else self.max_retries):
                if self.answered == before and not await self._alive():
                    raise self.server.explain(problem) from problem
                if not busy(problem):
                    told = self.server.clean(_short(problem))
                    raise Refused(key, f"unanswered: {attempt} requests failed, {told}") from problem
                attempt, before = 1, self.answered  # the server is slow, and not at a loss with this row
            self.usage.retries += 1
            await asyncio.sleep(back_off(attempt, seed, key))

    async def _alive(self) -> bool:
        """Whether the endpoint answers something else, where nothing else was left to ask: in a re-run every other row is
        in the cache, and a row that fails alone must cost itself, as it did in the first run."""
        import openai

        if self.known is None:
            return False
        try:
            await self._once(self.known)
        except (openai.OpenAIError, TimeoutError, NoCompletion, EndlessReply):
            return False
        self.usage.wasted += 1
        return True

    async def _once(self, body: bytes) -> Answer:
        """One request. The window and the hold learn from its outcome."""
        import openai
        from httpx2 import Response

        gate, window = self.gate, self.gate.window
        epoch = await gate.enter()
        try:
            if self.stopped:
                raise self.stopped
            self.permit(body, gate.in_flight - 1)
            # `post` is what `chat.completions.create` ends in. Skipping its walk over the typed parameters and its
            # building of typed results more than doubles the calls per second.
            async with asyncio.timeout(self.timeout):
                response = await self.client.post("/chat/completions", content=body, cast_to=Response)
            answer = answer_of(response.content)
        except Stopped as stopped:
            self.stopped = stopped
            raise
        except (openai.OpenAIError, TimeoutError) as error:
            if passing(error):
                window.overloaded(epoch)
            if isinstance(error, openai.APIStatusError) and (asked := retry_after(error.response.headers)):
                if asked > LONGEST_HOLD:
                    raise self.server.unusable(f"it asks to wait {asked:.0f} s: {error.message}") from error
                gate.hold(asked)
            raise
        else:
            self.answered += 1
            window.answered(epoch)
            return answer
        finally:
            gate.leave()

    def _stop(self, error: Exception) -> Stopped:
        self.stopped = Stopped(
            f"the endpoint's quota is used up: {self.server.clean(_short(error))}",
            self.server.shown,
            "raise the quota or add credit at the provider",
        )
        return self.stopped


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
