"""mem0 (https://github.com/mem0ai/mem0, Apache-2.0), the open-source package, in this process and without a network.

    pip install mem0ai==2.2.1      (the extra `mem0`)

mem0 keeps everything in one `Memory` object: a vector store, a model that extracts facts, an embedder. Each person gets an
object of their own, with Qdrant and SQLite in this process's memory, so that nobody can find anybody else's memories, and
removing a person is letting go of the object. The embedder is ours (the one of embedding retrieval). So is the model: with
`infer` mem0 sends its extraction prompt to the model under test, which then answers from what mem0 finds; mem0 and our own
memory are compared on the same model, and every token is counted. Without `infer` mem0 stores each message as it stands and
calls no model: search over raw turns, which is what can be measured where the only model is too small for mem0's prompt of
34,000 characters.

Not used: the hosted platform, graph memory, and what mem0 does with spaCy, fastembed or a reranker (keyword and entity
scores), whose models would be downloaded. Its prompt holds the current date, so that facts extracted by a sampled or
date-minded model may differ from day to day.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.systems.base import Named, fitting
from personamem_pipeline.evaluation.systems.embedders import Embedder, MiniLm
from personamem_pipeline.evaluation.systems.products import Added, SearchedProduct
from personamem_pipeline.memory.generators.base import Generator
from personamem_pipeline.memory.prompts import without_thinking
from personamem_pipeline.presets import MemoryConfig, RetrievalConfig
from personamem_pipeline.records import Message

if TYPE_CHECKING:
    from mem0 import Memory

INSTALL = "pip install mem0ai==2.2.1 (or the extra `mem0`)"
USER = "user"
"""The one user of each person's own object."""


def mem0_product(
    named: Named,
    generator: Generator,
    config: MemoryConfig,
    retrieval: RetrievalConfig,
    embedder: Embedder | None = None,
) -> SearchedProduct:
    """mem0 as a system: the model answers from the `retrieval.top` best memories, as mem0 orders them.

    Facts are extracted by the same model where it is asked in full sentences (`prompts: full`); a model that is only
    taught the compact prompts searches raw turns, and the label says so. `embedder` None: the packaged MiniLM.

    Raises:
        UserError: mem0 is not installed, or its telemetry is on.
    """
    infers = config.prompts == "full"
    if embedder is None and retrieval.embedder != "minilm":
        raise UserError(
            f"the embedder {retrieval.embedder!r} was not handed over",
            where=named.name,
            expected="minilm, or an embedder",
        )
    product = Mem0(
        embedder=embedder or MiniLm(),
        top=retrieval.top,
        extractor=Extractor(generator, config.memory_tokens) if infers else None,
    )
    product.prepare()
    label = named.label if infers else f"{named.label} (raw turns)"
    return SearchedProduct(replace(named, label=label), generator, config, product)


@dataclass
class Extractor:
    """The model that mem0 extracts facts with, and what that has cost so far."""

    generator: Generator
    max_tokens: int
    """Of one reply: as much as a memory of ours may hold."""
    input_tokens: int = 0
    output_tokens: int = 0

    def reply(self, prompt: str) -> str:
        """The model's text; a prompt over its context is an error, because mem0 would take silence for "no facts"."""
        if not fitting(prompt, self.generator, self.max_tokens):
            raise UserError(
                f"mem0's extraction prompt has {self.generator.count(prompt)} tokens and may be answered with "
                f"{self.max_tokens}; the model's context is {self.generator.context}",
                expected="a model with room for mem0's own prompt, some 8,000 tokens, and a session",
                remedy="use a model with a longer context, or `prompts: compact`, where mem0 keeps raw turns",
            )
        (generation,) = self.generator.generate([prompt], max_tokens=self.max_tokens)
        self.input_tokens += generation.input_tokens
        self.output_tokens += generation.output_tokens
        if generation.refused:
            raise UserError("the endpoint refused mem0's extraction prompt")
        return without_thinking(generation.text).strip()


@dataclass
class Mem0:
    """The adapter. `extractor` None: raw turns."""

    embedder: Embedder
    top: int
    extractor: Extractor | None = None
    _memories: dict[str, Memory] = field(default_factory=dict)

    def prepare(self) -> None:
        """Load mem0 with its telemetry off. Raises `UserError` where that cannot be."""
        os.environ["MEM0_TELEMETRY"] = "False"  # read once, when mem0 is first imported
        with tempfile.TemporaryDirectory(prefix="mem0-") as scratch, _set("MEM0_DIR", scratch):
            # There mem0 writes an id for its telemetry, and elsewhere nothing.
            try:
                from mem0.memory import telemetry
            except ImportError as error:
                raise UserError(
                    f"mem0 cannot be imported: {error}", where="evaluation.systems", remedy=INSTALL
                ) from error
        if telemetry.MEM0_TELEMETRY:
            raise UserError(
                "mem0 was loaded before, with its telemetry on: it would send what it does to its makers",
                where="evaluation.systems",
                remedy="export MEM0_TELEMETRY=False before this process starts",
            )
        # It warns for every person that spaCy and fastembed are not there.
        logging.getLogger("mem0").setLevel(logging.ERROR)

    def add(self, subject: str, messages: Sequence[Message]) -> Added | None:
        if subject not in self._memories:
            self._memories[subject] = self._new()
        memory, extractor = self._memories[subject], self.extractor
        said = [{"role": message.role, "content": message.content} for message in messages if message.content.strip()]
        if extractor is None:
            memory.embedding_model.remember([message["content"] for message in said])
            memory.add(said, user_id=USER, infer=False)
            return None  # no model was called; the turns are the chat itself
        before = extractor.input_tokens, extractor.output_tokens
        try:
            made = memory.add(said, user_id=USER)
        except self._model_error as error:
            if isinstance(error.__cause__, UserError):  # ours, which mem0 wrapped
                raise error.__cause__ from error
            raise
        return Added(
            memories=tuple(str(row["memory"]) for row in made["results"]),
            input_tokens=extractor.input_tokens - before[0],
            output_tokens=extractor.output_tokens - before[1],
        )

    def search(self, subject: str, query: str) -> Sequence[str]:
        if subject not in self._memories or not query.strip():
            return []
        found = self._memories[subject].search(query, filters={"user_id": USER}, top_k=self.top)
        return [str(row["memory"]) for row in found["results"]]

    def remove(self, subject: str) -> None:
        memory = self._memories.pop(subject, None)
        if memory is not None:
            memory.close()

    @cached_property
    def _dimensions(self) -> int:
        return int(self.embedder.embed(["dimensions"]).shape[1])

    @cached_property
    def _model_error(self) -> type[Exception]:
        from mem0.exceptions import LLMError

        found: type[Exception] = LLMError
        return found

    def _new(self) -> Memory:
        from mem0 import Memory
        from mem0.configs.base import MemoryConfig as Mem0Config
        from qdrant_client import QdrantClient

        nowhere = {"provider": "openai", "config": {"api_key": "none", "openai_base_url": "http://127.0.0.1:9"}}
        store = {
            "client": QdrantClient(":memory:"),
            "collection_name": "memories",
            "embedding_model_dims": self._dimensions,
        }
        config: dict[str, Any] = {
            "vector_store": {"provider": "qdrant", "config": store},
            "embedder": nowhere,
            "llm": nowhere,
            "history_db_path": ":memory:",
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a local Qdrant has no payload indexes
            memory = Memory(Mem0Config(**config))
        memory.embedding_model = _embeddings(self.embedder)
        memory.llm = _model(self.extractor)
        return memory


@contextmanager
def _set(variable: str, value: str) -> Iterator[None]:
    """An environment variable that is what it was before when the block ends."""
    before = os.environ.get(variable)
    os.environ[variable] = value
    try:
        yield
    finally:
        os.environ.pop(variable) if before is None else os.environ.update({variable: before})


def _embeddings(embedder: Embedder) -> Any:
    from mem0.embeddings.base import EmbeddingBase

    class Embeddings(EmbeddingBase):  # type: ignore[misc]
        """Our embedder as mem0 calls it; texts that come together are embedded together."""

        def __init__(self) -> None:
            super().__init__()
            self._known: dict[str, list[float]] = {}

        def remember(self, texts: Sequence[str]) -> None:
            """Embed what mem0 will ask for one by one."""
            missing = [text for text in dict.fromkeys(texts) if text not in self._known]
            if missing:
                self._known |= dict(zip(missing, embedder.embed(missing).tolist(), strict=True))

        def embed(self, text: str, memory_action: str | None = None) -> list[float]:
            return self.embed_batch([text])[0]

        def embed_batch(self, texts: Sequence[str], memory_action: str | None = "add") -> list[list[float]]:
            self.remember(texts)
            return [self._known[text] for text in texts]

    return Embeddings()


def _model(extractor: Extractor | None) -> Any:
    from mem0.llms.base import LLMBase

    class Model(LLMBase):  # type: ignore[misc]
        """The model under test as mem0 calls it."""

        def generate_response(self, messages: Sequence[dict[str, str]], **_: Any) -> str:
            if extractor is None:
                raise UserError("mem0 called a model although it only stores raw turns")
            return extractor.reply("\n\n".join(message["content"] for message in messages))

    return Model()
