"""The model endpoint: prompts in, validated records or plain replies out, through the real `openai` client.

`Endpoint` is all that the rooms use. What is asked, and what becomes of the answer, belongs to them (personas,
conversations, questions, evaluation); how it is asked is put together here from one file for each concern: `prompts`,
`dialects`, `replies`, `cache`, `limits`, `sending`, `usage`, `batch`, `connection`; `progress` tells people about it.
With `base_url=None` the built-in simulator answers in this process behind the same client: one code path for both.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from personamem_pipeline.errors import Refused, UserError
from personamem_pipeline.llm.cache import ResponseCache, server_name
from personamem_pipeline.llm.connection import AUTHOR, Server
from personamem_pipeline.llm.dialects import Dialect
from personamem_pipeline.llm.limits import Gate, Window
from personamem_pipeline.llm.prompts import Chat, Prompt, RecordT, Request, Said
from personamem_pipeline.llm.run import Learned, Run
from personamem_pipeline.llm.sending import Sender, Stopped
from personamem_pipeline.llm.usage import Budget, Prices, Usage
from personamem_pipeline.settings import Structured

__all__ = ["Chat", "Endpoint", "Prompt", "Said", "Usage"]

CONCURRENCY, CONCURRENCY_IN_PROCESS = 64, 16


@dataclass
class Endpoint:
    """An OpenAI-compatible chat endpoint; `base_url=None` is the simulator in this process.

    The budgets (tokens; dollars at the prices) bound what `ledger` counts, or `usage` where there is none.
    """

    base_url: str | None
    model: str
    api_key: str | None = field(repr=False)
    concurrency: int | None = None
    """Most requests in flight; None: 64, in process 16."""
    max_retries: int = 8
    """Of one request, with back-off; about a minute altogether."""
    timeout: float = 600.0
    """Seconds for one request."""
    max_tokens: int = 8192
    """Of one reply."""
    structured: Structured = "auto"
    cache: str | Path | None = None
    """The response cache's file; None: no cache."""
    price_input: float | None = None
    price_output: float | None = None
    """Dollars per million tokens."""
    budget_tokens: int | None = None
    budget_dollars: float | None = None
    batch: bool = False
    batch_poll_seconds: float = 30.0
    variables: str = AUTHOR
    """What the settings that describe this endpoint begin with: errors name them."""
    usage: Usage = field(default_factory=Usage)
    ledger: Usage | None = None
    """What the budgets bound, where that is more than this endpoint's own `usage`: all endpoints of a run."""

    def __post_init__(self) -> None:
        self._server = Server(self.base_url, self.model, self.variables, self.api_key or "")
        self._name = server_name(self.base_url) if self.cache else ""
        self._learned = Learned(Dialect.starting(self.structured, self._server.is_openai))
        self._window = Window(self.concurrency or (CONCURRENCY if self.base_url else CONCURRENCY_IN_PROCESS))
        priced = self.price_input is not None and self.price_output is not None
        self._prices = Prices(self.price_input or 0.0, self.price_output or 0.0) if priced else None
        self._budget = Budget(self.budget_tokens, self.budget_dollars, self.variables)
        self._budget.check(self._prices)
        if self.batch and not self.cache:
            problem = "the Batch API needs the response cache: that is where a batch is remembered and read into"
            raise UserError(problem, where=f"{AUTHOR}_BATCH", remedy="switch the cache on, or the batch off")

    async def ask(self, prompt: Request[RecordT]) -> RecordT:
        """The validated reply. `Refused(key, reason)`: none for this row; `UserError`: the endpoint is at fault."""
        async with self._run() as run:
            try:
                return await run.reply(prompt)
            except Stopped as stopped:
                raise self._stopped(stopped, 0, 1) from None

    def map(
        self, prompts: Sequence[Request[RecordT]], on_progress: Callable[[int, int], None] | None = None
    ) -> list[RecordT | Refused]:
        """Ask everything, as much at a time as the endpoint bears; replies in the order of `prompts`, a refusal in its
        place.

        `on_progress(done, all)` is called after each reply. A `UserError` stops the rest, and so does what `on_progress`
        raises; when a budget or quota is used up, what is in flight is waited for first. Every answer so far is in the
        cache then, and the same call goes on from there.
        """
        return asyncio.run(self._map(prompts, on_progress)) if prompts else []

    async def _map(
        self, prompts: Sequence[Request[RecordT]], on_progress: Callable[[int, int], None] | None
    ) -> list[RecordT | Refused]:
        replies: dict[int, RecordT | Refused] = {}
        waiting = iter(enumerate(prompts))  # shared by the workers: each takes the next one
        stops: list[Stopped] = []
        told = 0

        def tell(done: int) -> None:
            nonlocal told
            told = max(told, done)  # what a batch has answered is not told again
            if on_progress:
                on_progress(told, len(prompts))

        async def work(run: Run) -> None:
            for index, prompt in waiting:
                try:
                    replies[index] = await run.reply(prompt)
                except Refused as refused:
                    replies[index] = refused
                except Stopped as stopped:
                    stops.append(stopped)
                    return
                tell(len(replies))

        async with self._run() as run:
            if self.batch:
                try:
                    await run.batch(prompts, tell, self.batch_poll_seconds)
                except Stopped as stopped:
                    raise self._stopped(stopped, 0, len(prompts)) from None
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self._window.maximum, len(prompts))):
                        group.create_task(work(run))
            except ExceptionGroup as errors:
                # Every worker meets the same dead endpoint; one error is enough.
                raise _first(errors) from None
        if stops:
            raise self._stopped(stops[0], len(replies), len(prompts))
        return [replies[index] for index in range(len(prompts))]

    def _stopped(self, stopped: Stopped, done: int, total: int) -> UserError:
        usage = self.ledger or self.usage
        spent = f"{usage.calls:,} calls and {usage.tokens:,} tokens"
        spent += "" if usage.dollars is None else f" (${usage.dollars:,.4f})"
        kept = "every answer is in the response cache: the same command then goes on from there"
        return UserError(
            f"{stopped.problem}; {done:,} of these {total:,} rows are answered, {spent} spent",
            where=stopped.where,
            remedy=f"{stopped.remedy}; {kept if self.cache else 'without the response cache a re-run starts anew'}",
        )

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[Run]:
        with ExitStack() as stack:
            cache = stack.enter_context(ResponseCache.open(Path(self.cache))) if self.cache else None
            async with self._server.connect(self.api_key, self.timeout) as client:
                gate = Gate(self._window, asyncio.get_running_loop().time)
                sender = Sender(
                    self._server, client, gate, self.usage, self.max_retries, self.timeout, self._permit
                )  # fmt: skip
                bounded = self.budget_tokens is not None or self.budget_dollars is not None
                yield Run(
                    sender, self._learned, cache, self.max_tokens, self._prices, bounded, self._name, self.ledger
                )  # fmt: skip

    def _permit(self, body: bytes, in_flight: int) -> None:
        bound = self._budget.exhausted(self.ledger or self.usage, in_flight, body, self._prices)
        if bound:
            raise Stopped(
                f"the budget of {bound} does not allow the next request",
                self._server.shown,
                f"raise {AUTHOR}_BUDGET_TOKENS or {AUTHOR}_BUDGET_DOLLARS",
            )


def _first(errors: ExceptionGroup) -> Exception:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
