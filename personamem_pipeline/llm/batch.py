"""OpenAI's Batch API: the same requests as one file, answered within a day at half the price.

Requests go up as JSON lines, at most 50,000 and 200 MB a batch (https://platform.openai.com/docs/api-reference/batch/create,
`input_file_id`); answers are read when the batch has ended and are put into the response cache, all at once. Which
batch a request is in is remembered there from the moment the batch exists, so that a run that was killed waits for the
same batch. What a batch leaves unanswered (error lines, an expired batch) is asked for live by whoever called.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from personamem_pipeline.errors import UserError
from personamem_pipeline.llm.cache import ResponseCache
from personamem_pipeline.llm.connection import Server
from personamem_pipeline.llm.replies import Answer, NoCompletion, answer_of

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import Batch

MAX_REQUESTS = 50_000
MAX_BYTES = 200_000_000
URL: Final = "/v1/chat/completions"
ENDED = ("completed", "failed", "expired", "cancelled")
PATIENCE = 8
"""Retries of the client's own for one upload or poll: a batch must outlive a short outage."""
log = logging.getLogger(__name__)


def lines(requests: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    """(request digest, its line in a batch's input file) for digest -> body."""
    for request, body in requests.items():
        head = f'{{"custom_id":"{request.hex()}","method":"POST","url":"{URL}","body":'.encode()
        yield request, head + body + b"}\n"


def split(
    requests: Mapping[bytes, bytes], max_requests: int = MAX_REQUESTS, max_bytes: int = MAX_BYTES
) -> Iterator[tuple[list[bytes], bytes]]:
    """(digests, input file) of as many batches as the limits demand, in order."""
    digests: list[bytes] = []
    file = bytearray()
    for request, line in lines(requests):
        if digests and (len(digests) == max_requests or len(file) + len(line) > max_bytes):
            yield digests, bytes(file)
            digests, file = [], bytearray()
        digests.append(request)
        file += line
    if digests:
        yield digests, bytes(file)


def answers_in(file: bytes) -> dict[bytes, Answer]:
    """Request digest -> answer, of an output file; lines of requests that failed are left out."""
    found: dict[bytes, Answer] = {}
    for line in file.splitlines():
        try:
            row: dict[str, Any] = json.loads(line)
            response = row.get("response") or {}
            if response.get("status_code") == 200:
                found[bytes.fromhex(row["custom_id"])] = answer_of(response["body"])
        except (ValueError, LookupError, TypeError, AttributeError, NoCompletion) as error:
            log.warning("a line of a batch's output cannot be read and is asked for again: %s", error)
    return found


@dataclass
class Batches:
    """Batches of one run. `poll_seconds` lie between two looks at what is not ended."""

    server: Server
    client: AsyncOpenAI
    cache: ResponseCache
    poll_seconds: float
    report: Callable[[int], None]
    """Told how many requests are answered, at each look."""

    async def answer(self, requests: Mapping[bytes, bytes]) -> dict[bytes, Answer]:
        """The answers to digest -> body, all of which are in the cache then; those that got none are left out.

        Raises `UserError` when a batch failed as a whole or was cancelled, or the server offers none.
        """
        import openai

        client = self.client.with_options(max_retries=PATIENCE)
        try:
            known = await self._known(client, requests)
            waiting, remembered = dict(known), {request for digests in known.values() for request in digests}
            for digests, file in split({r: body for r, body in requests.items() if r not in remembered}):
                uploaded = await client.files.create(file=("requests.jsonl", file), purpose="batch")
                batch = await client.batches.create(input_file_id=uploaded.id, endpoint=URL, completion_window="24h")
                self.cache.remember_batch(batch.id, digests)
                waiting[batch.id] = digests
                log.info("batch %s: %d requests, %d bytes", batch.id, len(digests), len(file))
            if waiting.keys() - known.keys():
                await asyncio.sleep(self.poll_seconds)
            return await self._collect(client, waiting)
        except openai.NotFoundError as error:
            raise self.server.unusable(f"it offers no Batch API ({error.message})", "BASE_URL", "BATCH") from error
        except openai.OpenAIError as error:
            raise self.server.explain(error) from error

    async def _known(self, client: AsyncOpenAI, requests: Mapping[bytes, bytes]) -> dict[str, list[bytes]]:
        """Batches that an earlier run created for some of the requests and that the server still knows."""
        import openai

        known = self.cache.pending(list(requests))
        for identity in list(known):
            try:
                await client.batches.retrieve(identity)
                log.info("batch %s of an earlier run: %d requests", identity, len(known[identity]))
            except openai.NotFoundError:
                log.warning("batch %s of an earlier run is gone; its requests are sent again", identity)
                self.cache.finish_batch(identity, {})
                del known[identity]
        return known

    async def _collect(self, client: AsyncOpenAI, waiting: Mapping[str, list[bytes]]) -> dict[bytes, Answer]:
        found: dict[bytes, Answer] = {}
        left = list(waiting)
        while left:
            running = 0
            for identity in list(left):
                batch = await client.batches.retrieve(identity)
                if batch.status in ENDED:
                    left.remove(identity)
                    found |= await self._read(client, batch)
                    self._judge(batch, len(waiting[identity]))
                elif batch.request_counts:
                    running += batch.request_counts.completed
            self.report(len(found) + running)
            if left:
                await asyncio.sleep(self.poll_seconds)
        return found

    async def _read(self, client: AsyncOpenAI, batch: Batch) -> dict[bytes, Answer]:
        """Put the answers of an ended batch into the cache."""
        answers: dict[bytes, Answer] = {}
        if batch.output_file_id:
            answers = answers_in((await client.files.content(batch.output_file_id)).content)
        if batch.error_file_id:
            errors = (await client.files.content(batch.error_file_id)).content.splitlines()
            if errors:
                first = errors[0][:300].decode(errors="replace")
                log.warning("batch %s: %d requests failed, the first so: %s", batch.id, len(errors), first)
        self.cache.finish_batch(batch.id, answers)
        return answers

    def _judge(self, batch: Batch, asked: int) -> None:
        if batch.status == "expired":
            log.warning("batch %s expired with some of its %d requests unanswered", batch.id, asked)
        if batch.status in ("failed", "cancelled"):
            told = "; ".join(error.message or error.code or "" for error in (batch.errors and batch.errors.data) or [])
            raise UserError(
                f"batch {batch.id} {'was cancelled' if batch.status == 'cancelled' else 'failed'}: {told or 'no reason'}",
                where=self.server.shown,
                remedy="run again for a new batch of what is not answered, or unset PERSONAMEM_LLM_BATCH",
            )
