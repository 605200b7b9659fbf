"""The models that answer: checkpoints by their names in the graph, a directory, or the endpoint that the settings name.

At most one local model is loaded at a time; the one before is let go first, because it may hold most of a GPU.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.endpoint_generator import EndpointGenerator
from personamem_pipeline.llm.cache import server_name
from personamem_pipeline.memory.generators.base import Closing, Generator
from personamem_pipeline.memory.generators.decoded import Decoded
from personamem_pipeline.memory.generators.load import load_generator
from personamem_pipeline.presets import EvaluationConfig
from personamem_pipeline.seeds import digest
from personamem_pipeline.settings import load_settings
from personamem_pipeline.store import sha256_file

ENDPOINT = "endpoint"
Open = Callable[[], Generator]


@dataclass(frozen=True)
class Model:
    """One model under test."""

    label: str
    identity: str
    """What decides its replies: a checkpoint's version, or an endpoint's address and model."""
    open: Open


@dataclass
class Models:
    """All models of an evaluation, opened when they are first needed."""

    models: Mapping[str, Model]
    config: EvaluationConfig
    _open: dict[str, Generator] = field(default_factory=dict)
    _wrap: Callable[[Generator], Generator] | None = None
    _engines: ExitStack = field(default_factory=ExitStack)

    def __getitem__(self, name: str) -> Model:
        if name not in self.models:
            raise UserError(
                f"no model is called {name!r} here",
                where="evaluation.systems",
                expected=" or ".join(self.models),
                remedy="correct the system's `model`",
            )
        return self.models[name]

    def generator(self, name: str) -> Generator:
        """The model, decoding as the preset says; any other one is closed first."""
        if name not in self._open:
            model = self[name]
            self.close()
            generator = model.open()
            if isinstance(generator, Closing):
                self._engines.callback(generator.close)
            self._open[name] = Decoded(generator, self.config.temperature, self.config.seed)
            # Half a million objects of libraries and model will not become garbage meanwhile: looking through them again
            # and again costs as much as everything else that is done around a tiny model's calls.
            gc.freeze()
        return self._wrap(self._open[name]) if self._wrap else self._open[name]

    @contextmanager
    def wrapped(self, wrap: Callable[[Generator], Generator]) -> Iterator[None]:
        """Hand out every model wrapped meanwhile."""
        self._wrap = wrap
        try:
            yield
        finally:
            self._wrap = None

    def close(self) -> None:
        """Let go of what is loaded."""
        gc.unfreeze()
        self._open.clear()
        self._engines.close()


def directory_identity(directory: Path) -> str:
    """A digest of all files of a model directory: tokenizer and configuration decide replies as much as weights."""
    if not directory.is_dir():
        raise UserError("no such model directory", where=directory, expected="a local model in Hugging Face's format")
    return digest([[path.name, sha256_file(path)] for path in sorted(directory.iterdir()) if path.is_file()])


def local_model(label: str, identity: str, directory: Path, config: EvaluationConfig) -> Model:
    """A model directory, run by the preset's engine."""
    return Model(label, identity, lambda: load_generator(directory, config.engine, batch_size=config.batch_size))


def endpoint_model(stop: Callable[[], bool]) -> Model:
    """The model behind the endpoint that the settings name; offline the simulator, which knows its own world. A call ends
    with `Interrupted` once `stop` says so."""
    settings = load_settings()
    identity = f"{settings.llm_model} at {server_name(settings.llm_base_url)}"
    return Model(settings.llm_model, identity, partial(EndpointGenerator.configured, stop=stop))
