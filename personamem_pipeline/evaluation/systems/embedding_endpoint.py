"""Embeddings from a server: OpenAI's own, or anything that speaks its /embeddings (`vllm serve`, Ollama, TEI, Azure).

The connection is the one of the model endpoints (`llm.connection`): Azure's header, bounded replies, errors that say what
to do and never show the key. Retries are the client's: embedding a batch again costs little and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError

from personamem_pipeline.errors import UserError
from personamem_pipeline.llm.cache import server_name
from personamem_pipeline.llm.connection import EndlessReply, Server

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_SETTINGS = {
    "BASE_URL": "PERSONAMEM_EMBEDDING_BASE_URL",
    "API_KEY": "PERSONAMEM_EMBEDDING_API_KEY",
    "MODEL": "evaluation.retrieval.embedder of the preset",
}


class _Row(BaseModel):
    index: int
    embedding: list[float]


class _Reply(BaseModel):
    """What of a reply is read. The client itself takes whatever comes."""

    data: list[_Row]


@dataclass(frozen=True)
class EmbeddingEndpoint:
    """Where embeddings come from, and how they are asked for."""

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    timeout: float = 120.0
    """Seconds for one request."""
    batch: int = 64
    """Texts in a request; OpenAI takes up to 2,048 of them and 300,000 tokens together."""
    concurrency: int = 4
    """Requests in flight."""
    retries: int = 5
    characters: int = 20_000
    """What is embedded of a text, from its beginning: OpenAI's models refuse more than 8,191 tokens."""


class _EmbeddingServer(Server):
    """The same connection, whose errors name the settings of the embedding endpoint."""

    def unusable(self, problem: str, *names: str) -> UserError:
        settings = [_SETTINGS[name] for name in names or _SETTINGS if name in _SETTINGS]
        return UserError(
            f"the embedding endpoint cannot be used: {self.clean(problem)}",
            where=self.shown,
            expected=f"an OpenAI-compatible /embeddings endpoint that serves {self.model}",
            remedy=f"check {' and '.join(settings or ['that the server is up'])}; minilm needs no endpoint",
        )


@dataclass(frozen=True)
class EndpointEmbedder:
    """A model behind an endpoint. Raises `UserError` for whatever keeps it from being used."""

    endpoint: EmbeddingEndpoint
    model: str

    @property
    def name(self) -> str:
        return f"{self.model} at {server_name(self.endpoint.base_url)}"

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """One row of unit length per text: [texts, dimensions], float32. Order kept."""
        if not texts:
            return np.empty((0, 0), np.float32)
        # An empty text is refused by OpenAI.
        cut = [text[: self.endpoint.characters].strip() or "-" for text in texts]
        parts = asyncio.run(self._all(cut))
        if len({part.shape[1] for part in parts}) != 1:
            raise self._server.unusable("its vectors are of different lengths", "MODEL")
        rows = np.concatenate(parts)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or not norms.all():
            raise self._server.unusable("it gave a vector of length zero, or one that is not finite", "MODEL")
        unit: npt.NDArray[np.float32] = (rows / norms).astype(np.float32)
        return unit

    @property
    def _server(self) -> _EmbeddingServer:
        return _EmbeddingServer(self.endpoint.base_url, self.model, secret=self.endpoint.api_key or "")

    async def _all(self, texts: Sequence[str]) -> list[npt.NDArray[np.float64]]:
        size, window = self.endpoint.batch, asyncio.Semaphore(self.endpoint.concurrency)
        async with self._server.connect(self.endpoint.api_key, self.endpoint.timeout) as client:
            patient = client.with_options(max_retries=self.endpoint.retries)

            async def batch(start: int) -> npt.NDArray[np.float64]:
                async with window:
                    return await self._batch(patient, texts[start : start + size])

            tasks = [asyncio.create_task(batch(start)) for start in range(0, len(texts), size)]
            try:
                return list(await asyncio.gather(*tasks))
            finally:
                for task in tasks:
                    task.cancel()  # of no effect on those that are done; after an error nothing more is sent
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _batch(self, client: AsyncOpenAI, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        from openai import OpenAIError

        try:
            # In plain numbers: base64, the client's own default, is not served by everybody.
            raw = await client.embeddings.with_raw_response.create(
                model=self.model, input=list(texts), encoding_format="float"
            )
            reply = _Reply.model_validate_json(raw.text)
        except (OpenAIError, EndlessReply) as error:
            raise self._server.explain(error) from error
        except ValidationError as error:
            raise self._server.unusable(f"its reply holds no embeddings ({error.errors()[0]['msg']})") from error
        rows = {row.index: row.embedding for row in reply.data}
        if sorted(rows) != list(range(len(texts))):
            raise self._server.unusable(f"it gave {len(reply.data)} vectors for {len(texts)} texts")
        if len({len(row) for row in rows.values()}) != 1:
            raise self._server.unusable("its vectors are of different lengths", "MODEL")
        return np.array([rows[index] for index in range(len(texts))])
