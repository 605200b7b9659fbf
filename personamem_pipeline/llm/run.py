"""One run of an endpoint: from a request to its record, through the cache, the server and a repair or two."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from personamem_pipeline.errors import Refused
from personamem_pipeline.llm.batch import Batches
from personamem_pipeline.llm.cache import ResponseCache, request_digest
from personamem_pipeline.llm.dialects import Dialect, request_body
from personamem_pipeline.llm.prompts import Messages, RecordT, Request, repair
from personamem_pipeline.llm.replies import Answer, Unusable
from personamem_pipeline.llm.sending import Sender, Stopped
from personamem_pipeline.llm.usage import Prices, Usage

log = logging.getLogger(__name__)
REPAIRS = {"declined": 0, "not_json": 2}
"""How often a row is asked again because of a reply, by what is wrong with it; else once. JSON that breaks off though
the model stopped by itself is more often the server's fault than the model's."""


@dataclass
class Learned:
    """What an endpoint has shown about itself; outlives a run. `settled`: it has answered in this dialect."""

    dialect: Dialect
    settled: bool = False


@dataclass
class Run:
    """One opened endpoint. `bounded`: there is a budget, so every answer must say what it used."""

    sender: Sender
    learned: Learned
    cache: ResponseCache | None
    max_tokens: int
    prices: Prices | None
    bounded: bool
    name: str = ""
    """What the cache knows the server by."""
    ledger: Usage | None = None
    """What else counts its calls: all endpoints of a run together."""
    fresh: set[bytes] = field(default_factory=set)
    """Answers that came into the cache through this run's batches: paid for now, so not counted as cached."""

    async def reply(self, prompt: Request[RecordT]) -> RecordT:
        try:
            return await self._valid_reply(prompt)
        except Refused:
            self.sender.usage.refused += 1
            raise

    async def batch(self, prompts: Sequence[Request[Any]], tell: Callable[[int], None], poll_seconds: float) -> None:
        """Let batches answer what is not cached.

        The first that is in no batch yet is asked live: that settles the dialect, and shows a wrong key or model before
        anything is uploaded. Raises `Stopped` when the budget does not allow the whole.
        """
        assert self.cache is not None, "checked when the endpoint was made"
        missing = self._missing(prompts)
        waiting = {request for requests in self.cache.pending(list(missing)).values() for request in requests}
        probe = next((prompt for request, (prompt, _) in missing.items() if request not in waiting), None)
        if probe is not None:
            try:
                await self._answer(probe, probe.messages)
            except (Refused, Stopped):
                return  # the rows themselves will say so
            self.fresh.add(self._look_up(probe, probe.messages)[0])
            missing = self._missing(prompts)  # in the dialect that the probe settled
            waiting = {request for requests in self.cache.pending(list(missing)).values() for request in requests}
        new = [body for request, (_, body) in missing.items() if request not in waiting]
        if new:
            self.sender.permit(new[0], len(new) - 1)  # a batch cannot be stopped in the middle
        before = len(prompts) - len(missing)
        batches = Batches(self.sender.server, self.sender.client, self.cache, poll_seconds, lambda n: tell(before + n))
        for request, answer in (await batches.answer({r: body for r, (_, body) in missing.items()})).items():
            self.fresh.add(request)
            self._count(answer)
        self.sender.usage.retries += len(missing.keys() - self.fresh)

    def _missing(self, prompts: Sequence[Request[Any]]) -> dict[bytes, tuple[Request[Any], bytes]]:
        """Request digest -> prompt and body, of what the cache cannot answer."""
        found = {}
        for prompt in prompts:
            request, answer, body = self._look_up(prompt, prompt.messages)
            if answer is None:
                found[request] = prompt, body
        return found

    async def _valid_reply(self, prompt: Request[RecordT]) -> RecordT:
        messages, asked = prompt.messages, 0
        while True:
            answer, paid = await self._answer(prompt, messages)
            try:
                return prompt.read(answer)
            except Unusable as error:
                code, told = error.args
            self.sender.usage.wasted += paid
            asked += 1
            if asked > REPAIRS.get(code, 1):
                raise Refused(prompt.key, f"{code}: {told} ({asked} replies)", answer.content)
            messages = repair(messages, answer.content, told)

    async def _answer(self, prompt: Request[Any], messages: Messages) -> tuple[Answer, bool]:
        """The answer to a conversation, and whether it was paid for now rather than found in the cache."""
        import openai

        while True:
            dialect = self.learned.dialect
            digest, answer, body = self._look_up(prompt, messages)
            if answer is not None:
                paid = digest in self.fresh
                self.fresh.discard(digest)
                if not paid:
                    self.sender.usage.add_cached(answer)
                self.sender.known = body
                return answer, paid
            try:
                answer = await self.sender.send(body, prompt.key, prompt.seed)
            except openai.APIStatusError as error:
                if self.learned.dialect == dialect and not self._adapt(error):
                    code = "declined" if error.code == "content_filter" else "bad_request"
                    told = self.sender.server.clean(error.message)
                    raise Refused(prompt.key, f"{code}: the endpoint refused the request: {told}") from error
                continue
            self.learned.settled = True
            self._count(answer)
            if self.cache:
                answer = self.cache.put(digest, answer)
            return answer, True

    def _look_up(self, prompt: Request[Any], messages: Messages) -> tuple[bytes, Answer | None, bytes]:
        """Request digest, cached answer and body. Until the endpoint has shown which dialect it takes, the cache may
        know the answer in a weaker one, from a run that found out."""
        first = None
        known = self.learned.settled or not self.cache
        for dialect in [self.learned.dialect] if known else self.learned.dialect.weaker(prompt):
            body = request_body(prompt, messages, self.sender.server.model, dialect, self.max_tokens)
            digest = request_digest(self.name, body) if self.cache else b""
            answer = self.cache.get(digest) if self.cache else None
            if answer is not None:
                return digest, answer, body
            first = first or (digest, None, body)
        assert first is not None
        return first

    def _adapt(self, error: Any) -> bool:
        """Change the endpoint's dialect if that is what the error is about."""
        other = self.learned.dialect.refused(error.message) if error.status_code in (400, 422) else None
        if other is None:
            return False
        server = self.sender.server
        told = server.clean(error.message[:200])
        way = f"{other.mode} with {other.length} (PERSONAMEM_LLM_STRUCTURED={other.mode} saves finding out)"
        if other.temperature != self.learned.dialect.temperature:
            way = "no temperature is sent, and the model samples at its own"
        log.warning("%s does not take requests as they were; from now on %s: %s", server.shown, way, told)
        self.learned.dialect = other
        return True

    def _count(self, answer: Answer) -> None:
        for usage in (self.sender.usage, self.ledger):
            if usage is not None:
                usage.add(answer, self.prices)
        if self.bounded and None in (answer.prompt_tokens, answer.completion_tokens):
            raise self.sender.server.unusable(
                "it does not say how many tokens it used, so no budget can be kept", "BUDGET_TOKENS", "BUDGET_DOLLARS"
            )
